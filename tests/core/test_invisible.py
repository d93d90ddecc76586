"""The one rule for characters that cannot be seen: which count as text, and where."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.invisible import (
    UnseenCharacterError,
    require_visible,
    unseen,
    visible,
)

HIDDEN = {
    "a zero width space in a word": ("Fra\u200bnce", "U+200B (ZERO WIDTH SPACE)", 4),
    "a NUL": ("France\0", "U+0000 (NUL)", 7),
    "an escape of a terminal": ("\x1b[31mred", "U+001B (ESCAPE)", 1),
    "a control of Latin-1": ("a\x9bb", "U+009B (no name)", 2),
    "a byte order mark in the middle": ("a\ufeffb", "U+FEFF (BYTE ORDER MARK)", 2),
    "an override of direction": ("a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE)", 2),
    "an isolate": ("a\u2067b", "U+2067 (RIGHT-TO-LEFT ISOLATE)", 2),
    "a mark of direction": ("שלום\u200f", "U+200F (RIGHT-TO-LEFT MARK)", 5),
    "a soft hyphen": ("hy\xadphen", "U+00AD (SOFT HYPHEN)", 3),
    "a word joiner": ("a\u2060b", "U+2060 (WORD JOINER)", 2),
    "a filler of Hangul": ("\u3164", "U+3164 (HANGUL FILLER)", 1),
    "a joiner between Latin letters": ("a\u200db", "U+200D (ZERO WIDTH JOINER)", 2),
    "a non-joiner between Latin letters": ("a\u200cb", "U+200C (ZERO WIDTH NON-JOINER)", 2),
    "two joiners": ("\u0915\u094d\u200d\u200d\u0937", "U+200D (ZERO WIDTH JOINER)", 4),
    "a joiner behind an emoji and before a letter": ("\U0001f469\u200da", "U+200D", 2),
    "a selector behind a letter": ("a\ufe0f", "U+FE0F (VARIATION SELECTOR-16)", 2),
    "bytes smuggled behind an emoji": ("\U0001f600\ufe0f\U000e0101", "U+E0101", 3),
    "text in tags": ("a\U000e0041\U000e0042", "U+E0041 (TAG LATIN CAPITAL LETTER A)", 2),
    "a zero width space after Thai, before Latin": ("\u0e01\u200ba", "U+200B", 2),
}  # fmt: skip

WRITTEN = {
    "lines and tabs": "one\ttwo\r\nthree\n",
    "Persian": "می\u200cخواهم",
    "a Persian plural at the end of a word": "خانه\u200c ها",
    "Devanagari": "क्\u200dष और क्\u200cष",
    "Malayalam at the end of a word": "അവന്\u200d",
    "Sinhala": "ශ්\u200dරී ලංකා",
    "a profession": "\U0001f469\U0001f3fd\u200d\U0001f680",
    "a sex and a selector": "\U0001f3cb\ufe0f\u200d\u2640\ufe0f",
    "a black bird": "\U0001f426\u200d\u2b1b",
    "a heart and a keycap": "\u2764\ufe0f 1\ufe0f\u20e3",
    "the flag of England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a variant of a Chinese character": "葛\U000e0100城",
    "words of Khmer": "ភាសា\u200bខ្មែរ",
    "words of Thai": "ภาษา\u200bไทย",
    "Mongolian": "\u182e\u180b\u1823",
    "a sign over digits": "\u0600\u0661",
    "spaces of their own": "a\xa0b\u3000c\u2009d",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_cannot_be_seen_is_named_with_its_place(name):
    text, called, place = HIDDEN[name]
    found = unseen(text)
    assert found is not None and called in found.problem
    assert found.place == place and f"character {place}" in found.problem
    assert unseen(visible(text)) is None and len(visible(text)) < len(text)
    with pytest.raises(UnseenCharacterError, match="the message holds") as caught:
        require_visible(author=None, message=text)
    assert caught.value.hint


@pytest.mark.parametrize("name", WRITTEN)
def test_what_belongs_to_a_script_is_text(name):
    text = WRITTEN[name]
    assert unseen(text) is None and visible(text) == text
    require_visible(text=text)


def test_no_format_character_is_forgotten():
    """But signs that are drawn over the digits or hieroglyphs behind them."""
    drawn = [chr(code) for code in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2)]
    drawn += [chr(code) for code in (0x110BD, 0x110CD, *range(0x13430, 0x13440))]
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) in ("Cf", "Cc") and character not in "\t\n\r":
            assert (unseen(character) is None) == (character in drawn), ascii(character)


@given(st.text(st.characters(exclude_categories=["Cf", "Cc", "Cs", "Mn", "Cn", "Lo"])))
def test_what_can_be_seen_is_left_alone(text):
    assert unseen(text) is None and visible(text) == text


@given(st.text(st.sampled_from("a\u0915\u094d\u0e01\U0001f469\ufe0f\u200b\u200c\u200d\0 \u2067")))
def test_only_what_is_named_is_taken_out(text):
    assert (visible(text) == text) == (unseen(text) is None)
