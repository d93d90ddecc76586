"""Whether the texts of a fact fit into a model: how many tokens they have, how many it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from editvc.core.facts import PLACEHOLDER, Fact, Request
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TracingError, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ADDED = 16
"""More tokens than any tokenizer adds to a text by itself. No token has less than a byte."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A text of a fact with more ``tokens`` than ``limit``; ``field`` names it, ``what`` counts."""

    field: str
    what: str
    tokens: int
    limit: int


def may_be_too_long(fact: Fact, limit: int, contexts: Sequence[str] = (PLACEHOLDER,)) -> bool:
    """Whether any text could have more tokens than ``limit``; certainly not where this says no."""
    longest = max(len(context.encode()) for context in contexts)
    return any(
        len(f"{prompt} {target}".encode()) + longest + ADDED > limit
        for _, prompt, target in _texts(fact)
    )


def too_long(
    lm: LanguageModel, fact: Fact, limit: int, contexts: Sequence[str] = (PLACEHOLDER,)
) -> TooLong | None:
    """The first text of a fact that is longer than ``limit`` tokens, with what stands around it.

    The question is counted with its longest context and with the objects behind it, paraphrases and
    locality prompts with the objects.
    """
    if not may_be_too_long(fact, limit, contexts):
        return None
    subject = _count(lm.tokenizer, fact.subject)
    if subject > limit:
        return TooLong("subject", "", subject, limit)
    for field, prompt, target in _texts(fact):
        around = contexts if field == "prompt" else (PLACEHOLDER,)
        tokens = _longest(lm, prompt, target, around)
        if tokens > limit:
            context = "with its longest context and " if len(around) > 1 else "with "
            return TooLong(field, f"{context}the object behind it ", tokens, limit)
    return None


def target_tokens(tokenizer: PreTrainedTokenizerFast, fact: Fact) -> int:
    """How many tokens the new object has."""
    return _count(tokenizer, fact.target_new)


def fitting(lm: LanguageModel, facts: Sequence[Fact]) -> tuple[list[Fact], int]:
    """The facts without prompts that are longer than the model takes, and how many were left out.

    A fact whose own question is too long is left out whole.
    """
    limit = lm.positions
    if limit is None:
        return list(facts), 0
    kept, left_out = [], 0
    for fact in facts:
        short = fact
        while (long := too_long(lm, short, limit)) is not None:
            left_out += 1
            name, _, place = long.field.partition("[")
            if not place:
                break
            index = int(place.rstrip("]"))
            beside = ("hops", "hop_answers") if name == "hops" else (name,)
            rest = {
                one: getattr(short, one)[:index] + getattr(short, one)[index + 1 :]
                for one in beside
            }
            short = replace(short, **rest)
        else:
            kept.append(short)
    return kept, left_out


def _texts(fact: Fact) -> Iterator[tuple[str, str, str]]:
    """Every prompt of a fact by its field, with each object behind it."""
    prompts = [("prompt", fact.question)]
    prompts += [(f"paraphrases[{i}]", text) for i, text in enumerate(fact.paraphrases)]
    prompts += [(f"locality[{i}]", text) for i, text in enumerate(fact.locality)]
    prompts += [(f"hops[{i}]", text) for i, text in enumerate(fact.hops)]
    for field, prompt in prompts:
        for target in (fact.target_new, fact.target_true):
            if target is not None:
                yield field, prompt, target


def _longest(lm: LanguageModel, prompt: str, target: str, contexts: Sequence[str]) -> int:
    try:
        (rows,) = tokenize(lm.tokenizer, [Request(prompt, PLACEHOLDER, target)], contexts)
    except TracingError:
        return 0  # whoever wants these tokens says why there are none
    return max(len(row.ids) for row in rows)


def _count(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
