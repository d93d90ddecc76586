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
    """``index.db`` is missing or no sound SQLite file. ``path`` is where it should be."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"the index {path} {problem}",
            hint="Restore index.db from a copy: branches and the reflog are kept in it alone.",
        )
        self.path = path


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


def opened(path: Path) -> sqlite3.Connection:
    """A connection that writes, or one that reads alone where the machine allows no more."""
    try:
        connection = connected(path)
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
        if log.is_file() and log.stat().st_size:
            connection = _copied(path, log)
        else:
            connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    from shutil import copy  # as the next one, not for a `log` to wait for
    from tempfile import TemporaryDirectory

    memory = sqlite3.connect(":memory:", isolation_level=None)
    with TemporaryDirectory() as folder:
        for file in (path, log):
            Path(copy(file, folder)).chmod(0o600)
        with closing(sqlite3.connect(Path(folder) / path.name)) as copied:
            copied.backup(memory)
    return memory


def _code(cause: sqlite3.Error) -> int:
    """SQLite's code for an error, without what it adds to it; 0 where there is none."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def connected(path: Path) -> sqlite3.Connection:
    """A connection that commits where it is told to, durably."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    # So that a row that is replaced leaves the full-text index, too: its trigger is a deletion's.
    connection.execute("PRAGMA recursive_triggers=ON")
    return connection
