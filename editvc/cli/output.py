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


WONDER = 20.0
"""Seconds without a sign of life that a log may have."""


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
    """A progress bar with an estimate of the time left, on a terminal's stderr.

    Elsewhere a line now and then, for work that takes long enough to wonder.
    """
    if not sys.stderr.isatty():
        yield lines_of_progress()
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


def lines_of_progress(clock: Callable[[], float] = time.monotonic) -> Progress:
    """A line on stderr whenever :data:`WONDER` seconds have passed without one."""
    last = clock()

    def report(label: str, done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= WONDER:
            last = clock()
            note(f"{label}: {done} of {total}")

    return report


def ago(seconds: int) -> str:
    """``3 hours ago``, as ``git log --relative-date`` has it."""
    passed = max(0, int(time.time()) - seconds)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if passed >= size:
            count = passed // size
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
