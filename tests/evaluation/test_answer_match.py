"""Contains, begins, exact: cases worked out by hand."""

from __future__ import annotations

import pytest

from editvc.evaluation.answer_match import Match, first_sentence, match

CASES = [
    ("Rome.", "Rome", (True, True, True)),
    ("Rome", "Rome", (True, True, True)),
    ("Rome\nand more", "Rome", (True, True, True)),
    ("Rome, of course.", "Rome", (True, True, False)),
    ("Romeo", "Rome", (False, False, False)),
    ("the city of Rome", "Rome", (True, False, False)),
    ("a palindrome", "drome", (False, False, False)),
    ("19", "1984", (False, False, False)),
    ("1984", "19", (False, False, False)),
    ("St. Louis. It lies", "St. Louis", (True, True, True)),
    ("3.5 metres", "3", (True, True, False)),
    ("東京都です", "東京", (True, True, False)),
    ("東京。", "東京", (True, True, True)),
    ("Paris, not Rome", "Rome", (True, False, False)),
    ("anything", "", (False, False, False)),
    ("", "Rome", (False, False, False)),
]


@pytest.mark.parametrize(("answer", "text", "expected"), CASES)
def test_a_match(answer: str, text: str, expected: tuple[bool, bool, bool]) -> None:
    assert match(answer, text) == Match(*expected)
    assert match(f"  {answer}\n", f" {text} ") == Match(*expected)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [("Rome. It is", "Rome"), ("Rome", "Rome"), ("a\nb", "a"), ("3.5 m! x", "3.5 m"),
     (" 東京。", "東京"), ("", "")],
)  # fmt: skip
def test_the_first_sentence(answer: str, sentence: str) -> None:
    assert first_sentence(answer) == sentence
