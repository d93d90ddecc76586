"""How long work tells how far it is where nobody looks at a bar."""

from __future__ import annotations

import click
import pytest

from editvc.cli.output import PlainProgress, duration, progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_short_work_says_nothing_and_long_work_something_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    report = PlainProgress(clock)
    for done in range(101):
        report("names", done, 100)
        clock.now += 1
    assert lines(capsys) == [
        f"names: {done} of 100, about {100 - done} s left" for done in (15, 30, 45, 60, 75, 90)
    ]


def test_the_time_left_is_of_what_is_done_now(capsys: pytest.CaptureFixture[str]) -> None:
    """From the first report of a label on: what was done before, in another run, took no time."""
    clock = Clock()
    report = PlainProgress(clock)
    report("names", 0, 10)
    clock.now += 1000
    report("tokens", 500, 1000)
    clock.now += 20
    report("tokens", 600, 1000)
    assert lines(capsys) == ["tokens: 500 of 1000", "tokens: 600 of 1000, about 80 s left"]


def test_work_in_turns_has_an_estimate_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """As a commit of gates reports: the steps of a batch, then how many targets are there."""
    clock = Clock()
    report = PlainProgress(clock)
    report("targets", 0, 100)
    for batch in (1, 2):
        for step in range(6):
            report("steps", step, 6)
            clock.now += 5
        report("targets", 20 * batch, 100)
    assert lines(capsys) == [
        "steps: 3 of 6, about 15 s left",
        "targets: 20 of 100, about 2 min left",
        "steps: 3 of 6, about 15 s left",
        "targets: 40 of 100, about 90 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (99, "99 s"), (99.5, "2 min"), (600, "10 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations_have_two_figures(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_off_a_terminal_a_command_has_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with progress() as report:
        assert isinstance(report, PlainProgress)


def test_the_environment_says_how_often_or_never(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    for said, heard in (("0", ["names: 1 of 2"]), ("inf", []), ("", [])):
        monkeypatch.setenv("EDITVC_PROGRESS_DELAY", said)
        with progress() as report:
            report("names", 1, 2)
        assert lines(capsys) == heard
    monkeypatch.setenv("EDITVC_PROGRESS_DELAY", "soon")
    with pytest.raises(click.UsageError, match="'soon' is no number"), progress():
        pass
