"""Tasks with a few solved items before each question: which items, and what is answered.

Which items are solved and which are asked hangs on the seed alone. For a choice the solved ones are
run once, and every question goes on from their cache.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from editvc.models.forward import batches, padded_right
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel

SEED = 17
ASKED = 200
"""Items a task, or as many as there are: a standard error of 3.5 points at most."""

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """How an item becomes text. ``label`` is the number of the right one of ``choices``."""

    file: str
    shots: int
    choices: tuple[str, ...]
    text: Callable[[Item], str]
    label: Callable[[Item], int]


def split(
    items: Sequence[Item], task: Task, asked: int = ASKED, seed: int = SEED
) -> tuple[list[Item], list[Item]]:
    """Items to show solved, and items to ask: each choice as often as the others, nearly."""
    shuffled = random.Random(seed).sample(items, len(items))
    of_choice = {
        number: [item for item in shuffled if task.label(item) == number]
        for number in range(len(task.choices))
    }
    each = -(-task.shots // len(task.choices))
    shots = [of_choice[number][place] for place in range(each) for number in of_choice]
    shots = shots[: task.shots]
    return shots, [item for item in shuffled if item not in shots][:asked]


def balanced(items: Sequence[Item], task: Task, most: int) -> list[Item]:
    """At most so many items, each choice equally often, as far as there are."""
    each = most // len(task.choices)
    counts = dict.fromkeys(range(len(task.choices)), 0)
    kept = []
    for item in items:
        label = task.label(item)
        if counts[label] < each:
            counts[label] += 1
            kept.append(item)
    return kept


def solved(shots: Sequence[Item], task: Task) -> str:
    """What stands before each question."""
    return "".join(f"{task.text(item)}{task.choices[task.label(item)]}\n\n" for item in shots)


@torch.no_grad()
def choose(
    lm: LanguageModel, before: str, questions: Sequence[str], choices: Sequence[str]
) -> list[int]:
    """The likeliest choice after each question, by the first token of each; ties to the first.

    ``before`` are the solved items, as text; it may not be empty. Raises ``ValueError`` where two
    choices begin with the same token.
    """
    first = [lm.tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in choices]
    if len({*first}) < len(first):
        raise ValueError(f"two of {list(choices)} begin with the same token")
    shown = lm.tokenizer(before)["input_ids"]
    rows = [lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in questions]
    with lm.eval_mode():
        kept = lm.body(input_ids=torch.tensor([shown], device=lm.device), use_cache=True)
        chosen: dict[int, int] = {}
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        for batch in batches(order, lambda index: len(shown) + lengths[index]):
            cache = deepcopy(kept.past_key_values)
            cache.batch_repeat_interleave(len(batch))
            ids, mask = padded_right([rows[index] for index in batch], lm.device)
            seen = torch.cat([mask.new_ones(len(batch), len(shown)), mask], dim=1)
            hidden = lm.body(
                input_ids=ids, attention_mask=seen, past_key_values=cache, use_cache=True
            )[0]
            last = hidden[torch.arange(len(batch)), mask.sum(1) - 1]  # (rows, u)
            best = lm.logits(last)[:, first].argmax(-1)
            chosen.update(zip(batch, best.tolist(), strict=True))
    return [chosen[index] for index in range(len(rows))]


def fits(lm: LanguageModel, before: str, question: str, more: int) -> bool:
    """Whether the solved items, a question and ``more`` tokens have positions in the model."""
    if lm.positions is None:
        return True
    return len(lm.tokenizer(before + question, verbose=False)["input_ids"]) + more <= lm.positions


def write(
    lm: LanguageModel, before: str, questions: Sequence[str], max_new_tokens: int
) -> list[str]:
    """What is generated after the solved items and each question, up to the blank line.

    The solved items end in blank lines, so a model that has seen how it is done ends there.
    """
    prompts = [before + question for question in questions]
    said = generate_all(lm, prompts, [max_new_tokens] * len(prompts))
    return [answer.strip().split("\n\n")[0].strip() for answer in said]
