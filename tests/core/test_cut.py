"""Texts cut for people."""

from __future__ import annotations

import pytest

from editvc.core.cut import LONGEST, cut, quoted, title
from editvc.core.facts import Fact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a" * LONGEST, "a" * LONGEST),
        ("a" * (LONGEST + 1), "a" * (LONGEST - 3) + "..."),
        ("word " * 40, ("word " * 20)[: LONGEST - 3].rstrip() + "..."),
    ],
)
def test_a_long_text_ends_in_dots(text, shown):
    assert cut(text) == shown and len(shown) <= LONGEST
    assert quoted(text) == repr(shown)


def test_the_length_may_be_another():
    assert cut("abcdefgh", 6) == "abc..." and cut("abcdef", 6) == "abcdef"


def test_a_title_is_the_first_line():
    assert title("\n One\n\nand more ") == "One"
    assert title("a" * 15_000) == cut("a" * 15_000)


def test_a_fact_on_a_line_is_cut_and_its_record_is_not():
    fact = Fact("s" * 500, "The\nprompt of {} is", "t" * 500)
    assert len(fact.line) <= 2 * LONGEST + len(" -> ") and "\n" not in fact.line
    assert fact.to_record()["target_new"] == "t" * 500
