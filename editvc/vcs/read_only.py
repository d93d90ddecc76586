"""SQL of the user's own over the index, on a connection that can do nothing but read.

Imports sqlite-utils.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import dedupe_keys

from editvc.errors import EditvcError
from editvc.vcs.index_file import meaning_of, reading

Value = str | int | float | bytes | None

NOT_THE_QUERYS = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
)
"""SQLite's codes for what is wrong with the file or the machine."""

STEPS = 100_000
"""Instructions of SQLite's machine between two looks at whether the user has interrupted it."""

READING = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)
PRAGMAS = ("table_list", "table_info", "table_xinfo", "index_list", "index_info", "data_version")
"""Those that tell of tables, whatever their argument is; full-text search asks for the last."""


class QueryError(EditvcError):
    """A query that SQLite does not understand, or that does more than read."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the query failed: {problem}",
            hint='`editvc query "SELECT name, sql FROM sqlite_master"` shows the tables; the page '
            "on file formats explains them. A query is one statement, and only reads.",
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query. Columns of one name are told apart by numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def read(path: Path, sql: str) -> Rows:
    """All that a query gives of the SQLite file at ``path``.

    Raises :class:`QueryError`, ``IndexDamaged`` where the file is no sound one, and
    ``KeyboardInterrupt`` where the user interrupts it.
    """
    try:
        connected = reading(path)
    except sqlite3.Error as cause:
        raise meaning_of(cause, path) from cause
    with closing(connected) as connection:
        db = Database(connection, execute_plugins=False)
        connection.set_authorizer(_only_reading)
        connection.set_progress_handler(_go_on, STEPS)
        try:
            return _rows(db, sql)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as cause:
            raise _meaning(cause, path) from cause


def _rows(db: Database, sql: str) -> Rows:
    cursor = db.execute(sql)
    if cursor.description is None:
        raise QueryError("it gives no rows")
    return Rows(tuple(dedupe_keys(column[0] for column in cursor.description)), tuple(cursor))


def _meaning(cause: Exception, path: Path) -> BaseException:
    """What an error of SQLite, or of the driver, means to the user."""
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds to it
    if code == sqlite3.SQLITE_INTERRUPT:
        return KeyboardInterrupt()
    if isinstance(cause, sqlite3.Error) and code in NOT_THE_QUERYS:
        return meaning_of(cause, path)
    refused = code == sqlite3.SQLITE_AUTH or str(cause) == "not authorized"
    return QueryError("it would do more than read" if refused else str(cause))


def _only_reading(action: int, name: str | None, *_: Any) -> int:
    """SQLite's question whether a statement may do this; ``name`` is that of a table or pragma."""
    allowed = (
        action in READING
        or (action == sqlite3.SQLITE_PRAGMA and name in PRAGMAS)
        # Asked where a virtual table is opened. Nothing is written: the file is open for reading.
        or (action == sqlite3.SQLITE_UPDATE and name == "sqlite_master")
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _go_on() -> int:
    """Nothing, but in Python: here an interrupt of the user is noticed, and ends the query."""
    return 0
