"""The SQLite file of the index: how it is opened, and what its errors mean.

What the machine refuses (a full disk, a medium that takes no write) is told apart from damage.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from editvc.errors import DamageError, EditvcError

BUSY_SECONDS = 30.0


class IndexDamaged(DamageError):
    """``index.db`` is no sound SQLite file. ``path`` is where it is."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"the index {path} {problem}",
            hint="`editvc fsck --repair` builds it anew from the objects and the operation log, "
            "and keeps the old one aside.",
        )
        self.path = path


class IndexMissing(IndexDamaged):
    """``index.db`` is not there, or empty, or a part of it alone is. It is built anew."""


class IndexBusy(EditvcError):
    """Another process has held the index for longer than half a minute."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another process keeps {path} locked", hint="Wait for it to end, then try again."
        )
        self.path = path


class IndexRefused(EditvcError):
    """The machine does not let the index be used: nothing in it is damaged."""

    def __init__(self, path: Path, problem: str, hint: str) -> None:
        super().__init__(f"the index {path} cannot be used: {problem}", hint=hint)
        self.path = path


class IndexUncertain(EditvcError):
    """The machine refused the end of a transaction, and that it be taken back."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{problem}; it is not known whether the command took effect",
            hint="When the disk works again, `editvc reflog` shows whether it did.",
        )
        self.path = path


_REFUSALS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space, then try again."),
    sqlite3.SQLITE_READONLY: (
        "it cannot be written",
        "Look at the free space, the permissions of the folder, and how its disk is mounted. "
        "Commands that only read work all the same.",
    ),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "Look at the disk, then try again."),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Look at the permissions of the folder, and at how many files are open (`ulimit -n`).",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "Look at the permissions of the file."),
    sqlite3.SQLITE_AUTH: ("access is denied", "Look at the permissions of the file."),
    sqlite3.SQLITE_NOMEM: ("the machine has too little memory", "Close what else runs."),
    sqlite3.SQLITE_NOLFS: ("the disk takes no file so large", "Use another file system."),
    sqlite3.SQLITE_PROTOCOL: (
        "its locks do not work on this file system",
        "Keep repositories on a local disk.",
    ),
}
"""By SQLite's code, without what it adds to it: what the machine refused, and the way out."""


def meaning_of(cause: sqlite3.Error, path: Path) -> EditvcError:
    """What an error of SQLite says of the index: held by another, refused by the machine, damaged.

    Damage is what SQLite calls that, and tables that are not as they should be.
    """
    code = _code(cause)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexBusy(path)
    if code in _REFUSALS:
        return IndexRefused(path, *_REFUSALS[code])
    return IndexDamaged(path, f"cannot be used: {cause}")


HEADER = 100
"""Bytes at the beginning of an SQLite file that say how long it is."""


def require_whole(path: Path) -> None:
    """Raise :class:`IndexMissing` unless there is a file with all that its header speaks of.

    Where a log of writes lies beside it, the file may still be shorter than it is going to be.
    """
    try:
        with path.open("rb") as file:
            header, size = file.read(HEADER), path.stat().st_size
    except FileNotFoundError:
        raise IndexMissing(path, "is missing") from None
    except OSError:
        return  # SQLite says what the machine refuses
    if not size:
        raise IndexMissing(path, "is empty")
    unit = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    log = path.with_name(f"{path.name}-wal")
    cut = size < HEADER or size < pages * (65536 if unit == 1 else unit)
    if b"SQLite format 3\0".startswith(header[:16]) and cut and not _holds_anything(log):
        raise IndexMissing(path, "is cut short")


def _holds_anything(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def opened(path: Path) -> sqlite3.Connection:
    """A connection that writes, or one that reads alone where the machine allows no more."""
    try:
        connection = connected(f"{path.resolve().as_uri()}?mode=rw")  # it makes no new one
        connection.execute("PRAGMA user_version").fetchall()
    except sqlite3.DatabaseError as cause:
        if _code(cause) not in _REFUSALS:
            raise
        return reading(path)
    return connection


def reading(path: Path) -> sqlite3.Connection:
    """A connection that can do nothing but read, from a medium that takes no write, too.

    There SQLite cannot make the file that readers and writers of a WAL share. Without a WAL the
    index is read as it lies; what an interrupted writer left in one is read from a copy in memory.
    """
    uri = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
        connection.execute("PRAGMA user_version").fetchall()
    except sqlite3.DatabaseError as cause:
        if _code(cause) not in _REFUSALS:
            raise
        log = path.with_name(f"{path.name}-wal")
        if _holds_anything(log):
            connection = _copied(path, log)
        else:
            connection = sqlite3.connect(
                f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None
            )
    connection.execute("PRAGMA query_only=ON")
    return connection


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    from shutil import copy  # as the next one, not for a `log` to wait for
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for file in (path, log):
            Path(copy(file, folder)).chmod(0o600)
        with closing(sqlite3.connect(Path(folder) / path.name)) as copied:
            return in_memory(copied)


def _code(cause: sqlite3.Error) -> int:
    """SQLite's code for an error, without what it adds to it; 0 where there is none."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def in_memory(copied: sqlite3.Connection | None = None) -> sqlite3.Connection:
    """An empty database in memory, or a copy of another one that may be changed."""
    memory = connected(":memory:")
    if copied is not None:
        copied.backup(memory)
    return memory


def connected(path: Path | str) -> sqlite3.Connection:
    """A connection that commits where it is told to, durably; a text may be SQLite's URI."""
    uri = isinstance(path, str)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, uri=uri)
    connection.execute("PRAGMA synchronous=FULL")
    # So that a row that is replaced leaves the full-text index, too: its trigger is a deletion's.
    connection.execute("PRAGMA recursive_triggers=ON")
    return connection
