"""Guessing what a misspelt name was to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``text``, in whatever case; ``None`` where none is near."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(text.casefold(), folded, n=1)
    return folded[near[0]] if near else None


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """``Did you mean 'layers'?`` for the nearest known name; empty where none is near."""
    name = nearest(text, known)
    return f"Did you mean '{name}'?" if name else ""
