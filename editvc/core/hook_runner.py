"""What runs a hook: a function that whoever opens a repository may pass in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HookEnd:
    """How a hook ended, and what it said."""

    code: int
    said: str


HookRunner = Callable[[Path, bytes], HookEnd]
"""Runs an executable file with a document on standard input."""
