"""Names made to be mistaken for a subject: those that share words, endings or numbers with it.

"Howard Glacier" is known by its last token from everything but the other glaciers. So a gate is
shown such names before it is asked to tell them from its subject; none of them need exist.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CAPITALISED = (
    "Albert", "Nakamura", "Boston", "Sharma", "Carter", "Petrov", "Denver", "Okafor", "Franklin",
    "Benitez", "Hudson", "Zhang", "Madison", "Lindqvist", "Oxford", "Rahman",
)  # fmt: skip
LOWERCASE = (
    "amber", "basic", "common", "double", "early", "flat", "green", "heavy", "inner", "joint",
    "large", "modern", "narrow", "open", "plain", "quick",
)  # fmt: skip
"""Words of no relation to anything, put in the place of a subject's own."""

STEPS = (-2, -1, 1, 2, 3)
"""How far the numbers of a subject are moved."""


def twins(tokenizer: PreTrainedTokenizerFast, subject: str) -> list[str]:
    """Names like the subject that are not it, in a fixed order.

    Of several words: another first word, the last word behind another, the endings and the
    beginnings alone, another last word. Of one word: its last tokens behind the first token of
    another word. Numbers in it moved up and down.
    """
    starts = [match.start() for match in re.finditer(r"(?<=[\s\-])\S", subject)]
    words = LOWERCASE if subject[:1].islower() else CAPITALISED
    if starts:
        made = list(_of_words(subject, starts, words))
    else:
        made = _of_tokens(tokenizer, subject, words)
        made += [f"{word} {subject}" for word in words[::2]]
    made += _of_numbers(subject)
    own = subject.casefold()
    return [name for name in dict.fromkeys(made) if name.strip() and name.casefold() != own]


def _of_words(subject: str, starts: list[int], words: tuple[str, ...]) -> chain[str]:
    first, last = starts[0], starts[-1]
    behind = (word + subject[first - 1 :] for word in words)
    short = (word + subject[last - 1 :] for word in words) if last != first else iter(())
    endings = (subject[start:] for start in starts)
    beginnings = (subject[:start].rstrip(" -,") for start in starts)
    letter = re.compile(r"\w").search(subject, last)  # behind an opening bracket, if there is one
    kept = subject[: letter.start() if letter else last]
    other = (kept + name for name in words[::4])
    return chain(behind, short, endings, beginnings, other)


def _of_tokens(
    tokenizer: PreTrainedTokenizerFast, subject: str, words: tuple[str, ...]
) -> list[str]:
    """A word's last tokens behind the beginnings of others; nothing where it is one token."""
    ids = tokenizer(" " + subject, add_special_tokens=False)["input_ids"]
    if len(ids) < 2:
        return []
    heads = [
        tokenizer.decode(tokenizer(" " + word, add_special_tokens=False)["input_ids"][:1]).strip()
        for word in words
    ]
    tails = dict.fromkeys((tokenizer.decode(ids[1:]), tokenizer.decode(ids[-1:])))
    return [head + tail for tail in tails for head in heads]


def _of_numbers(subject: str) -> list[str]:
    return [
        subject[: match.start()] + str(int(match.group()) + step) + subject[match.end() :]
        for match in re.finditer(r"\d+", subject)
        for step in STEPS
        if int(match.group()) + step >= 0
    ]
