"""How an answer in words agrees with what it should say. Text alone."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")
"""The end of a sentence or of a line."""


@dataclass(frozen=True, slots=True)
class Match:
    """Whether an answer names a text at all, says it first, and says nothing but it.

    ``contains`` and ``begins`` ask for whole words. ``exact``: the answer begins with the text,
    and there its first sentence or line ends.
    """

    contains: bool
    begins: bool
    exact: bool

    def to_json(self) -> dict[str, bool]:
        """By name."""
        return asdict(self)


NO_MATCH = Match(contains=False, begins=False, exact=False)


def match(answer: str, text: str) -> Match:
    """How an answer agrees with a text; white space around either does not count."""
    answer, text = answer.strip(), text.strip()
    if not text:
        return NO_MATCH
    starts = [at.start() for at in re.finditer(re.escape(text), answer)]
    whole = [at for at in starts if _is_whole(answer, at, text)]
    begins = 0 in whole
    rest = answer[len(text) :].lstrip(" ") if begins else ""
    ends = begins and (not rest or bool(_END.match(rest)) or bool(_END.search(text[-1:])))
    return Match(contains=bool(whole), begins=begins, exact=ends)


def first_sentence(answer: str) -> str:
    """What stands before the end of the first sentence or line; all of it where there is none."""
    answer = answer.strip()
    end = _END.search(answer)
    return answer[: end.start()].strip() if end else answer


def _is_whole(answer: str, at: int, text: str) -> bool:
    """Whether the text at a place is no part of a longer word or number."""
    before = of_a_word(answer[at - 1 : at]) and of_a_word(text[:1])
    after = of_a_word(text[-1:]) and of_a_word(answer[at + len(text) :])
    return not before and not after


def of_a_word(text: str) -> bool:
    """Whether a text begins in the middle of a word or number, in scripts that part words."""
    return text[:1].isdigit() or text[:1].lower() != text[:1].upper()
