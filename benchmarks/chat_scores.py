"""Facts asked as a user asks them: a natural question in the model's chat template, greedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from editvc.core.facts import PLACEHOLDER
from editvc.models.chat_template import turn_of
from editvc.models.language_model import LanguageModel

NEW_TOKENS = 24
ROWS = 32
"""Questions that are answered at once."""

QUESTIONS: Mapping[str, str] = tomllib.loads(
    Path(__file__).with_name("questions.toml").read_text(encoding="utf-8")
)


def question(relation: str, subject: str, prompt: str) -> str:
    """What a user asks: the relation's question, else to go on with the fact's own prompt."""
    if relation in QUESTIONS:
        return QUESTIONS[relation].replace(PLACEHOLDER, subject)
    return f"Complete this sentence: {prompt.rstrip()} ..."


def chat_answers(lm: LanguageModel, questions: Sequence[str]) -> list[str]:
    """What the model answers to each question by itself, in its chat template.

    Questions of similar length are answered together, padded on the left.
    """
    turn, tokenizer = turn_of(lm.tokenizer), lm.tokenizer
    rows = [
        tokenizer(turn.around(words), add_special_tokens=False)["input_ids"] for words in questions
    ]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    answers: dict[int, str] = {}
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        width = max(len(rows[index]) for index in chosen)
        ids = torch.zeros(len(chosen), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, index in enumerate(chosen):
            ids[place, width - len(rows[index]) :] = torch.tensor(rows[index])
            mask[place, width - len(rows[index]) :] = 1
        with torch.no_grad():
            out = lm.model.generate(
                input_ids=ids.to(lm.device),
                attention_mask=mask.to(lm.device),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                num_beams=1,
                pad_token_id=tokenizer.eos_token_id,
            )
        for place, index in enumerate(chosen):
            answers[index] = tokenizer.decode(out[place, width:], skip_special_tokens=True)
    return [answers[index] for index in range(len(rows))]


def says(answer: str, subject: str, name: str) -> bool:
    """Whether an answer names something, beside what the subject's own name holds.

    In any case, from the beginning of a word: "verbs" names "verb", "Eurasia" does not name "Asia".
    """
    rest = answer.casefold().replace(subject.casefold(), " ") if subject else answer.casefold()
    return re.search(rf"(?<!\w){re.escape(name.strip().casefold())}", rest) is not None
