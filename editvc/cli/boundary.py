"""Where every failure of the command line ends: in words, with its exit code, and as JSON.

What a user got wrong and what the machine refuses is told as such. Only what nobody foresaw is
called a bug.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click

from editvc.cli.output import OutputError, complain, emit_json
from editvc.core.invisible import WAY_OUT, unseen
from editvc.errors import EditvcError

USER, USAGE, BUG, INTERRUPTED = 1, 2, 70, 130


class ReaderGone(Exception):
    """Nobody reads our output any more, as after `| head`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command failed: ``code`` is its exit code, ``place`` a file, line or folder.

    ``kind`` is the name of the error's class, as docs/errors.md lists it. ``details`` are texts
    that the message cuts, whole.
    """

    code: int
    kind: str
    message: str
    hint: str = ""
    place: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What stdout has of it under --json."""
        return {
            "error": {
                "code": self.code,
                "class": self.kind,
                "message": self.message,
                "hint": self.hint,
                "place": self.place,
                "details": dict(self.details),
            }
        }


class _Closed(io.TextIOBase):
    """Standard output that was closed before the command began: writing says so."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def open_streams() -> None:
    """Make standard input, output and error usable, whatever the caller left of them.

    A closed one is a descriptor that the next file would get, the repository's index, say; so each
    is opened on the null device. What an encoding cannot hold is escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())
    sys.stdout = sys.stdout or _Closed()
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_output() -> None:
    """Empty the buffer of standard output; what it does not take goes nowhere.

    Else the interpreter would try once more at its end, and make the exit code 120.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def texts(words: Sequence[str]) -> list[str]:
    """The arguments as the text that was typed, whatever the locale made of their bytes.

    Raises ``UsageError`` for one that is not UTF-8, or holds characters that cannot be seen, unless
    it names what is there.
    """
    return [_text(number, word) for number, word in enumerate(words, 1)]


def _text(number: int, word: str) -> str:
    if os.path.lexists(word):
        return word
    try:
        text = word if is_text(word) else os.fsencode(word).decode()
    except UnicodeError:
        message = f"argument {number} is not UTF-8 text: {word!a}"
        raise click.UsageError(message) from None
    if hidden := unseen(text):
        raise click.UsageError(f"argument {number} {hidden.problem}. {WAY_OUT}")
    return text


def is_text(word: str) -> bool:
    """Whether a word of the command line, or of the environment, was UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def failure_of(error: BaseException) -> Failure:
    """What an exception that leaves a command means."""
    kind = type(error).__name__
    if isinstance(error, EditvcError):
        return Failure(error.exit_code, kind, str(error), error.hint, _place(error), error.details)
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return Failure(INTERRUPTED, kind, "interrupted")
    if isinstance(error, click.ClickException):
        return Failure(error.exit_code, kind, error.format_message())
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, UnicodeError):
        return Failure(
            USER, kind, f"a text is not UTF-8: {error}", "Save it, or type it, as UTF-8."
        )
    if isinstance(error, MemoryError):
        way_out = "Close what else runs."
        return Failure(USER, kind, "the machine has too little memory for this", way_out)
    return Failure(
        BUG,
        kind,
        "this is a bug in editvc",
        "Please report it with the lines above; `editvc fsck` tells whether all is well.",
    )


def tell(error: BaseException, *, as_json: bool) -> int:
    """Say why a command failed, on stderr and under --json on stdout; returns the exit code."""
    failure = failure_of(error)
    if failure.code == BUG:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        _show(error)
    else:
        complain(failure.message, hint=failure.hint)
    if as_json and not isinstance(error, OutputError):
        with suppress(OSError, OutputError):  # it is told already, on stderr
            emit_json(failure.to_json())
    return failure.code


def _show(error: click.ClickException) -> None:
    try:
        error.show()
    except OSError:
        return  # nowhere to say it


def _refused(error: OSError) -> Failure:
    """What the machine refused, and of which file."""
    kind, reason = type(error).__name__, error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and not _here():
        return Failure(
            USER,
            kind,
            "the current folder is gone",
            "Go to one that is there, or name the repository with -C DIR.",
        )
    name = error.filename2 if error.filename2 is not None else error.filename
    place = None if name is None else os.fsdecode(name) if not isinstance(name, int) else None
    where = f"{place}: " if place else ""
    return Failure(
        USER,
        kind,
        f"{where}{reason}",
        "Look at the name, the permissions and the free space, then try again.",
        place,
    )


def _here() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _place(error: EditvcError) -> str | None:
    """Where an error says that it happened: each class has its own word for it."""
    for name in ("place", "file", "path", "source", "start", "folder"):
        value = getattr(error, name, None)
        if value is not None:
            line = getattr(error, "line", None) if name == "file" else None
            return f"{value}:{line}" if line else str(value)
    return None
