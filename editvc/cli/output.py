"""What commands say: data on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from editvc.cli.columns import GAP, aligned
from editvc.cli.terminal import colour, columns, is_dumb, is_quiet, pager
from editvc.core.cut import cut
from editvc.core.invisible import in_one_line, printable
from editvc.errors import EditvcError

if TYPE_CHECKING:
    from editvc.core.progress import Progress


UNWRITTEN = 300
"""Characters of what could not be written that an error repeats."""


class OutputError(EditvcError):
    """Standard output that takes nothing: closed, or on a full disk. ``text`` was not written."""

    def __init__(self, cause: OSError, text: str) -> None:
        super().__init__(
            f"standard output cannot be written: {cause.strerror or cause}",
            hint=f"What the command has done stands. It would have said: {cut(text, UNWRITTEN)}",
        )
        self.text = text


def emit_json(value: Any) -> None:
    """One JSON document on stdout, in what characters the stream has."""
    text = _as_json(value, indent=2)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=2)  # escaped, as JSON has it
    _write(text, _as_json(value))


def emit_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    """Comma separated values on stdout, headed by the names of the first row's columns.

    Texts are written as a terminal may show them: a line end or a control character is spelt out.
    """
    import csv
    import io

    lines = [*rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if lines:
        writer.writerow(lines[0])
    for line in lines:
        writer.writerow(printable(one) if isinstance(one, str) else one for one in line.values())
    _write(text.getvalue().rstrip("\n"), "comma separated values")


def _as_json(value: Any, indent: int | None = None) -> str:
    """As JSON, which has no NaN and no infinities: they are null."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        loose = json.dumps(value, ensure_ascii=False)
        finite = json.loads(loose, parse_constant=lambda name: None)
        return json.dumps(finite, indent=indent, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Painted:
    """A piece of a line in a style of :func:`click.style`."""

    text: str
    style: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot that this program has drawn, colours and all, with no text from outside in it."""

    text: str


Piece = str | Painted | Drawn
"""What lines are made of. Texts come from anywhere, so whatever a terminal would obey is spelt out
in all of them; colours are ours."""


def painted(text: str, **style: Any) -> Painted:
    """A piece of a line with a colour, or bold."""
    return Painted(text, style)


def _shown(pieces: Sequence[Piece]) -> str:
    return "".join(map(_piece_shown, pieces))


def _piece_shown(piece: Piece) -> str:
    if isinstance(piece, Drawn):
        return piece.text
    if isinstance(piece, Painted):
        return click.style(printable(piece.text), **piece.style)
    return printable(piece)


def say(*pieces: Piece) -> None:
    """A line of the command's result, on stdout. Raises :class:`OutputError`."""
    _write(_shown(pieces), printable("".join(map(_text_of, pieces))))


def say_done(*pieces: Piece) -> None:
    """A line about what the command has done, on stdout, but for ``--quiet``.

    What a dry run would do is no such line: it was asked for.
    """
    if not is_quiet() or click.get_current_context().params.get("dry_run"):
        say(*pieces)


def _text_of(piece: Piece) -> str:
    return piece if isinstance(piece, str) else piece.text


def say_on(piece: str) -> None:
    """A piece of a line, on stdout, at once. Raises :class:`OutputError`."""
    with _told(piece):
        click.echo(printable(piece), nl=False, color=colour())


def page(lines: Iterable[Sequence[Piece]]) -> None:
    """A long result, through a pager on a terminal. Raises :class:`OutputError`."""
    text = "\n".join(map(_shown, lines))
    with _told(text), pager() as through_pager:
        (click.echo_via_pager if through_pager else click.echo)(text, color=colour())


def _write(text: str, told: str) -> None:
    with _told(told):
        click.echo(text, color=colour())


@contextmanager
def _told(text: str) -> Iterator[None]:
    """What standard output refuses is told as that, and not as trouble of another file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise OutputError(cause, " ".join(text.split())) from cause


def _mention(text: str) -> None:
    """A line on stderr; where nobody listens, the work goes on."""
    with suppress(OSError):
        click.echo(text, err=True, color=colour())


def note(message: str) -> None:
    """A remark about the work, on stderr, but for ``--quiet``."""
    if not is_quiet():
        _mention(printable(message))


def warn(message: str) -> None:
    """Something that the user should look at, on stderr."""
    _mention(f"{click.style('warning:', fg='yellow')} {printable(message)}")


def complain(message: str, *, hint: str = "") -> None:
    """Why a command failed, and the way out, on stderr."""
    _mention(f"{click.style('error:', fg='red')} {printable(message)}")
    if hint:
        _mention(f"{click.style('hint:', fg='cyan')} {printable(hint)}")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    shade: Callable[[int, int, str], Piece] = lambda row, column, cell: cell,
) -> None:
    """Aligned columns on stdout; ``right`` names the columns that are numbers.

    ``shade`` is called with (row, column, aligned cell), the header apart, and may colour it. On a
    terminal a table is as wide as that at most.
    """
    lines = [[in_one_line(cell) for cell in row] for row in (header, *rows)]
    for number, block in enumerate(aligned(lines, right, columns())):
        if number:
            say()
        for row, cells in enumerate(block, -1):
            _say_row(row, cells, shade)


def _say_row(
    row: int, cells: list[tuple[int, str]], shade: Callable[[int, int, str], Piece]
) -> None:
    """A line of a table without spaces at its end; row -1 is the header."""
    while len(cells) > 1 and not cells[-1][1].strip():
        cells.pop()
    cells[-1] = cells[-1][0], cells[-1][1].rstrip()
    if row < 0:
        say(painted(GAP.join(cell for _, cell in cells), bold=True))
        return
    first, *more = (shade(row, column, cell) for column, cell in cells)
    say(first, *chain.from_iterable((GAP, piece) for piece in more))


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar with an estimate of the time left on a terminal's stderr; else a line now and then.

    With ``--quiet`` neither.
    """
    if is_quiet():
        yield lambda label, done, total: None
        return
    if not sys.stderr.isatty() or is_dumb():
        yield PlainProgress(every=_progress_delay())
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


def _progress_delay() -> float:
    """Seconds between lines of progress: EDITVC_PROGRESS_DELAY, as git's GIT_PROGRESS_DELAY;
    ``inf`` for none at all.
    """
    said = os.environ.get("EDITVC_PROGRESS_DELAY") or str(PlainProgress.EVERY)
    try:
        return float(said)
    except ValueError:
        raise click.UsageError(f"EDITVC_PROGRESS_DELAY={said!r} is no number of seconds") from None


class PlainProgress:
    """Lines on stderr for logs: the first after ``every`` seconds, then at most one in as many.

    Work may take turns, the steps of a batch and then the batches: each label has its own estimate.
    """

    EVERY = 15.0

    def __init__(self, clock: Callable[[], float] = time.monotonic, every: float = EVERY) -> None:
        self._clock, self._every = clock, every
        self._told = clock()
        self._began: dict[str, tuple[float, int, int]] = {}  # when, from where, and how far since

    def __call__(self, label: str, done: int, total: int) -> None:
        """As :data:`editvc.core.progress.Progress` is called."""
        now = self._clock()
        began, first, last = self._began.get(label, (now, done, done))
        if done < last:  # the same work again, for others
            began, first = now, done
        self._began[label] = began, first, done
        if now - self._told < self._every:
            return
        self._told = now
        speed = (done - first) / (now - began) if now > began else 0.0
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
