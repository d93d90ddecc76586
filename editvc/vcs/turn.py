"""Whose turn it is, among processes that overtake each other: advice, which nobody must follow.

A compare-and-swap lets the fastest win, and whoever has more to do may lose time and again. So one
that was overtaken takes the turn, and those that begin let it go first. It is a lock on a folder
that a process which dies lets go of; where there are no locks, all go on as without it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK = 0.02
"""Seconds between two looks at a lock."""


@contextmanager
def turn(folder: Path, patience: float) -> Iterator[None]:
    """Have the turn inside, or go on without it after ``patience`` seconds."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield
        return
    try:
        _lock(descriptor, patience)
        yield
    finally:
        os.close(descriptor)


def let_pass(folder: Path, patience: float) -> None:
    """Wait until nobody has the turn, ``patience`` seconds at most."""
    with turn(folder, patience):
        pass


def _lock(descriptor: int, patience: float) -> None:
    end = time.monotonic() + patience
    with suppress(OSError):  # a file system without locks
        while not _taken(descriptor) and time.monotonic() < end:
            time.sleep(LOOK)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
