"""What the terminal can show, and what whoever sits at it has asked for."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

QUIET = "editvc.quiet"
"""Where the context of a command keeps that ``--quiet`` was given."""

PLOT = 72
"""Columns of a plot where there is room."""


def colour() -> bool | None:
    """Whether to write colours; None where that is for the stream to say.

    NO_COLOR, then FORCE_COLOR, then TERM=dumb, as Python's own tracebacks mind them.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if is_dumb() else None


def is_dumb() -> bool:
    """Whether the terminal obeys nothing: neither colours, nor a bar that is drawn over."""
    return os.environ.get("TERM") == "dumb"


def is_quiet() -> bool:
    """Whether the command under way was given ``--quiet``."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(QUIET))


def columns() -> int | None:
    """The width of the terminal that standard output is; None for a pipe, which has none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def plot_columns() -> int:
    """How wide a plot may be."""
    return min(PLOT, columns() or PLOT)


@contextmanager
def pager() -> Iterator[bool]:
    """Whether a long text goes through a pager; meanwhile click finds the one that git would take.

    That is EDITVC_PAGER, as git's GIT_PAGER, or PAGER, or less, which keeps colours and ends by
    itself where the text fits; ``cat`` and nothing are none. So are pipes and dumb terminals.
    """
    named = os.environ.get("EDITVC_PAGER", os.environ.get("PAGER", "" if is_dumb() else "less"))
    try:
        shlex.split(named)
    except ValueError as cause:
        raise click.UsageError(f"PAGER or EDITVC_PAGER is no command: {named!r}") from cause
    if named.strip() in ("", "cat") or not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    before = dict(os.environ)
    os.environ.update({"LESS": "-FRX", "LV": "-c"} | before | {"PAGER": named})
    try:
        yield True
    finally:
        os.environ.clear()
        os.environ.update(before)
