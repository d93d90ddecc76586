"""Texts cut for people: a list, a title and an error stay readable, and JSON has the text whole."""

from __future__ import annotations

LONGEST = 100
"""Characters of a text in a list or an error: most facts are shorter."""
DOTS = "..."


def cut(text: str, longest: int = LONGEST) -> str:
    """``text`` in at most ``longest`` characters, dots where something is left out."""
    return text if len(text) <= longest else text[: longest - len(DOTS)].rstrip() + DOTS


def quoted(text: str) -> str:
    """``text`` in quotes, cut, for an error."""
    return repr(cut(text))


def title(message: str) -> str:
    """The first line of a commit's message, cut."""
    return cut(message.strip().split("\n", 1)[0])
