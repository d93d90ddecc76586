"""Characters that cannot be seen, and the one rule for them.

A zero width space, a NUL or a mark of direction makes another subject, another token and another
branch of what reads the same. Text that a person can type again is refused with the character's
name (:func:`unseen`); text by the million, which nobody types again, is read without them
(:func:`visible`).

Some are a part of how a script is written, and count as text where they stand as Unicode's
chapters have them: joiners behind a letter of Persian or of an Indic script and inside emoji, the
space that has no width between words of Khmer or Thai, variation selectors behind what they vary,
the tags of a flag.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from editvc.errors import EditvcError

_JOINING = (
    "\u0600-\u08ff\ufb50-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e900-\U0001e95f"
    "\u0900-\u0dff\u1780-\u18af\u1900-\u1aff\u1b00-\u1cff\ua800-\uabff\U00011000-\U00011fff"
    "\u0f00-\u109f"  # those from right to left, the Indic ones, Tibetan and Burmese
)
"""Scripts whose letters join, or form clusters, and in which a joiner says whether they do."""
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aad\ua980-\ua9df"
"""Scripts without spaces between words."""
_EMOJI = "\u2190-\u27ff\u2900-\u2bff\U0001f000-\U0001faff"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"

_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, but tab and ends of lines
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What has no mark of its own in Unicode, but white space, and signs that stand over digits."""

_WRITTEN = (
    f"(?<=[{_JOINING}])[\u200c\u200d]",
    f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])",
    f"(?<=[{_UNSPACED}])\u200b(?=[{_UNSPACED}])",
    f"(?<=[^\\sA-Za-z{_UNSEEN}])[{_SELECTORS}]",
    "(?<=[\u1820-\u18aa])[\u180b-\u180f]",
    "(?<=\U0001f3f4)[\U000e0030-\U000e007a]{1,7}\U000e007f",
)
"""Where such a character is a part of the text."""
_ANY = re.compile(f"[{_UNSEEN}]")
_TEXT = re.compile(f"(?=[{_UNSEEN}])(?:{'|'.join(_WRITTEN)}|(?P<unseen>.))", re.DOTALL)

_KNOWN_AS = {
    "\0": "NUL", "\x08": "BACKSPACE", "\x1b": "ESCAPE", "\x7f": "DELETE",
    "\ufeff": "BYTE ORDER MARK",
}  # fmt: skip
"""What people call characters that have no name in Unicode, or another."""


WAY_OUT = "Take it out, or type the text anew."
"""The hint of every refusal."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A character that cannot be seen: which, and its place in the text, from 1."""

    character: str
    place: int

    @property
    def name(self) -> str:
        """``U+200B (ZERO WIDTH SPACE)``."""
        name = _KNOWN_AS.get(self.character) or unicodedata.name(self.character, "no name")
        return f"U+{ord(self.character):04X} ({name})"

    @property
    def problem(self) -> str:
        """What is wrong with the text, as a message has it."""
        return f"holds a character that cannot be seen: {self.name}, character {self.place}"


def unseen(text: str) -> Unseen | None:
    """The first character of ``text`` that cannot be seen; ``None`` where all can."""
    for match in _TEXT.finditer(text):
        if character := match["unseen"]:
            return Unseen(character, match.start() + 1)
    return None


class UnseenCharacterError(EditvcError):
    """A text to be stored or compared holds a character that cannot be seen. ``what`` it is."""

    def __init__(self, what: str, character: Unseen) -> None:
        super().__init__(f"the {what} {character.problem}", hint=WAY_OUT)
        self.what = what


def require_visible(**texts: str | None) -> None:
    """Raise :class:`UnseenCharacterError` for the first of ``texts``, by name, that hides one."""
    for what, text in texts.items():
        if text is not None and (hidden := unseen(text)):
            raise UnseenCharacterError(what, hidden)


def visible(text: str) -> str:
    """``text`` without the characters that cannot be seen."""
    if _ANY.search(text) is None:  # as nearly all of it: a hundred times as fast
        return text
    return _TEXT.sub(lambda match: "" if match["unseen"] else match[0], text)


_ENDS = re.compile("[\r\u2028\u2029]")
_LINE_ENDS = re.compile("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def printable(text: str) -> str:
    """``text`` for a terminal: what moves the cursor or cannot be seen is spelt out.

    Ends of lines stay; those that only some programs take for one are spelt out, too.
    """
    shown = text if _ANY.search(text) is None else _TEXT.sub(_spelt, text)
    return _ENDS.sub(lambda match: _escaped(match[0]), shown)


def in_one_line(text: str) -> str:
    """:func:`printable` for a place that has one line: ends of lines are spelt out as well."""
    return printable(_LINE_ENDS.sub(lambda match: _escaped(match[0]), text))


def _spelt(match: re.Match[str]) -> str:
    return _escaped(match["unseen"]) if match["unseen"] else match[0]


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
