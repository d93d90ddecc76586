"""What commands say: data on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from editvc.core.progress import Progress


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(message: str = "") -> None:
    """A line of the command's result, on stdout."""
    click.echo(message)


def note(message: str) -> None:
    """A remark about the work, on stderr."""
    click.echo(message, err=True)


def warn(message: str) -> None:
    """Something that the user should look at, on stderr."""
    click.echo(f"{click.style('warning:', fg='yellow')} {message}", err=True)


def complain(message: str, *, hint: str = "") -> None:
    """Why a command failed, and the way out, on stderr."""
    click.echo(f"{click.style('error:', fg='red')} {message}", err=True)
    if hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {hint}", err=True)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    shade: Callable[[int, int, str], str] = lambda row, column, cell: cell,
) -> None:
    """Aligned columns on stdout; ``right`` names the columns that are numbers.

    ``shade`` is called with (row, column, aligned cell), the header apart, and may colour it.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        if number == 0:
            say(click.style("  ".join(cells).rstrip(), bold=True))
        else:
            shaded = [shade(number - 1, place, cell) for place, cell in enumerate(cells)]
            say("  ".join(shaded).rstrip())


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar with an estimate of the time left on a terminal's stderr; else a line now and then."""
    if not sys.stderr.isatty():
        yield PlainProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label, total=total)
            bar.update(tasks[label], completed=done, total=total)

        yield report


class PlainProgress:
    """Lines on stderr for logs: the first after ``EVERY`` seconds, then at most one in as many."""

    EVERY = 15.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = clock()
        self._label = ""
        self._began, self._first = 0.0, 0

    def __call__(self, label: str, done: int, total: int) -> None:
        """As :data:`editvc.core.progress.Progress` is called."""
        now = self._clock()
        if label != self._label:
            self._label, self._began, self._first = label, now, done
        if now - self._told < self.EVERY:
            return
        self._told = now
        speed = (done - self._first) / (now - self._began) if now > self._began else 0.0
        left = f", about {duration((total - done) / speed)} left" if speed > 0 else ""
        note(f"{label}: {done} of {total}{left}")


def duration(seconds: float) -> str:
    """``40 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def ago(seconds: int) -> str:
    """``3 hours ago``, as ``git log --relative-date`` has it."""
    passed = max(0, int(time.time()) - seconds)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if passed >= size:
            count = passed // size
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
