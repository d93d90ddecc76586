"""Calls that end: whatever the other side of a network does, somebody hears of it in time.

A timeout of a socket is none against a server that sends a byte now and then. Here the work has a
thread of its own, and is given up when its time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from editvc.core.progress import Progress

T = TypeVar("T")

LOOKS = 1.0
"""Seconds between two words about a call that is waited for."""


class DeadlinePassed(TimeoutError):
    """A call that took longer than ``seconds``. What it was about to do may happen yet."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no end of it after {seconds:g} seconds")
        self.seconds = seconds


def within(
    seconds: float, call: Callable[[], T], progress: Progress | None = None, label: str = ""
) -> T:
    """What ``call`` returns or raises, if it ends in time.

    ``progress`` hears each second how many of them have passed, under ``label``. Raises
    :class:`DeadlinePassed`; the thread is left behind then, and does not keep the process alive.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    began = monotonic()
    threading.Thread(target=work, daemon=True, name=f"editvc {label}").start()
    while not ended.wait(min(LOOKS, max(0.0, began + seconds - monotonic()))):
        passed = monotonic() - began
        if passed >= seconds:
            raise DeadlinePassed(seconds)
        if progress is not None:
            progress(label, int(passed), int(seconds))
    if errors:
        raise errors[0]
    return results[0]
