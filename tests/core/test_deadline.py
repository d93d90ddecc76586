"""Calls that end in time, whatever they wait for."""

from __future__ import annotations

import threading

import pytest

from editvc.core import deadline
from editvc.core.deadline import DeadlinePassed, within


def test_what_ends_in_time_is_what_it_was() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(KeyError):
        within(5, lambda: {}["no"])


def test_what_does_not_end_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(DeadlinePassed, match=r"after 0\.05 seconds"):
        within(0.05, never.wait)
    never.set()


def test_progress_hears_of_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "LOOKS", 0.01)
    heard: list[tuple[str, int, int]] = []
    never = threading.Event()
    with pytest.raises(DeadlinePassed):
        within(0.1, never.wait, lambda *told: heard.append(told), "the server")
    never.set()
    assert len(heard) >= 3 and {one[0] for one in heard} == {"the server"}
