"""``index.db``: refs and reflog under transactions, and what ``log`` needs without objects.

SQLite in WAL mode with ``synchronous=FULL``: a transaction that has returned survives power loss.
All of it can be built anew from the objects, refs and reflog from those of operations.

:mod:`editvc.vcs.index_file` opens a plain ``sqlite3`` connection, for ``log``, ``status``, ``show``
and ``branch``: importing sqlite-utils takes longer than all that they do (docs/adr/0013). Tables,
migrations, search and queries are sqlite-utils', in ``index_schema``, ``search`` and ``read_only``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from editvc.core.cut import quoted
from editvc.core.ids import ObjectId
from editvc.core.plain_json import read_json
from editvc.core.record_types import misfit
from editvc.errors import EditvcError
from editvc.vcs.files import Fault, no_fault
from editvc.vcs.index_file import IndexDamaged, IndexRefused, meaning_of, opened, require_whole
from editvc.vcs.index_rows import ChangeRow, CommitRow, FactRow

Row = TypeVar("Row")

VERSION = 3


class IndexTooNew(EditvcError):
    """The index was written by a later editvc."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} has format {version}, this editvc knows up to {VERSION}",
            hint="Install a newer editvc.",
        )
        self.version = version


class Index:
    """One open ``index.db``. Not to be shared between threads.

    ``recording`` is around all that a :meth:`transaction` does.
    """

    def __init__(
        self,
        path: Path,
        fault: Fault | None = None,
        connection: sqlite3.Connection | None = None,
    ) -> None:
        """Open an existing index, or take one in memory that stands for it.

        Raises :class:`IndexMissing` where there is none, and :class:`IndexDamaged`.
        """
        if connection is None:
            require_whole(path)
        self.path = path
        self.fault: Fault = fault or no_fault
        self.recording: Callable[[], AbstractContextManager[None]] = nullcontext
        with self.guarded():
            self.connection = connection or opened(path)
            version = self.version
            if version == 0 and not self._has_refs():
                raise IndexDamaged(path, "holds no editvc tables")
        if version > VERSION:
            raise IndexTooNew(path, version)

    @property
    def version(self) -> int:
        """The file's format. What is below :data:`VERSION` has to be upgraded before it is used."""
        return int(self.rows("PRAGMA user_version")[0][0])

    def _has_refs(self) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE name = 'refs'"))

    def close(self) -> None:
        """Give the file back; the index cannot be used afterwards."""
        self.connection.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """SQLite's errors as :class:`IndexBusy`, :class:`IndexRefused` or :class:`IndexDamaged`."""
        try:
            yield
        except sqlite3.DatabaseError as cause:
            raise meaning_of(cause, self.path) from cause

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens at once, or not at all if an exception leaves it.

        Other writers wait from the first line on, so what is read inside stays true.
        """
        with self.unrecorded(), self.recording():
            yield

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """A :meth:`transaction` of which no operation is written: it builds the index anew."""
        self.fault("begin")
        with self.guarded():
            self.connection.execute("BEGIN IMMEDIATE")
        try:
            with self.guarded():
                yield
                self.fault("commit")
                self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.fault("committed")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whoever writes meanwhile; nobody waits."""
        with self.guarded():
            self.connection.execute("BEGIN")
            self.connection.execute("SELECT 1 FROM refs").fetchall()  # from here on
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """The result of a reading query, whole."""
        with self.guarded():
            return self.connection.execute(query, tuple(values)).fetchall()

    def unsound(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        return [str(row[0]) for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    def problems(self) -> list[str]:
        """:meth:`unsound`, and whether texts are found."""
        problems = self.unsound()
        try:
            with suppress(IndexRefused):  # SQLite asks this in a statement that might write
                self.write(
                    "INSERT INTO search_fts (search_fts, rank) VALUES ('integrity-check', 1)", [()]
                )
        except IndexDamaged:
            problems.append("the full-text index does not agree with the table search")
        return problems

    def write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a writing statement for each row. Only inside :meth:`transaction`."""
        with self.guarded():
            self.connection.executemany(statement, rows)

    def add_commits(self, rows: Iterable[CommitRow]) -> None:
        """Add commits. Only inside :meth:`transaction`."""
        rows = list(rows)
        self._add_texts("commit", ((row.id, row.text) for row in rows))
        self.write(
            "INSERT OR REPLACE INTO commits VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    row.id,
                    row.number,
                    row.tree,
                    json.dumps(row.parents),
                    row.message,
                    row.author,
                    row.time,
                    row.edits,
                    row.live,
                    row.delta,
                    json.dumps(row.health),
                )
                for row in rows
            ),
        )

    def add_facts(self, rows: Iterable[FactRow]) -> None:
        """Add facts. Only inside :meth:`transaction`."""
        rows = list(rows)
        self._add_texts("fact", ((row.id, row.text) for row in rows))
        self.write(
            "INSERT OR REPLACE INTO facts VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                (*astuple(row)[:-2], json.dumps(row.tags, ensure_ascii=False), row.valid_until)
                for row in rows
            ),
        )

    def _add_texts(self, kind: str, texts: Iterable[tuple[ObjectId, str]]) -> None:
        self.write(
            "INSERT OR REPLACE INTO search (id, kind, text) VALUES (?,?,?)",
            ((identifier, kind, text) for identifier, text in texts),
        )

    def add_changes(self, rows: Iterable[ChangeRow]) -> None:
        """Add changes. Only inside :meth:`transaction`."""
        self.write("INSERT OR REPLACE INTO changes VALUES (?,?,?,?)", map(astuple, rows))

    def add_located(self, pairs: Iterable[tuple[str, ObjectId]]) -> None:
        """Add (request, located) pairs; who came first stays. Only inside :meth:`transaction`."""
        self.write("INSERT OR IGNORE INTO located VALUES (?,?)", pairs)

    def commit(self, identifier: ObjectId) -> CommitRow | None:
        """The row of a commit."""
        rows = self.rows("SELECT * FROM commits WHERE id = ?", [identifier])
        return self._typed(_commit_row, rows[0]) if rows else None

    def commits(self) -> list[CommitRow]:
        """All recorded commits, reachable or not, in id order."""
        rows = self.rows("SELECT * FROM commits ORDER BY id")
        return [self._typed(_commit_row, row) for row in rows]

    def commits_of_number(self, number: int) -> list[ObjectId]:
        """The commits that have a number: one on each line of first parents."""
        rows = self.rows("SELECT id FROM commits WHERE number = ?", [number])
        return [ObjectId(row[0]) for row in rows]

    def commit_ids(self, prefix: str) -> list[ObjectId]:
        """The ids of commits that begin with ``prefix`` (hex digits), in rising order."""
        query = "SELECT id FROM commits WHERE id >= ? AND id < ? ORDER BY id"
        return [ObjectId(row[0]) for row in self.rows(query, [prefix, prefix + "g"])]

    def located(self, request: str) -> ObjectId | None:
        """The located edit that answers a request digest, if one has been made."""
        rows = self.rows("SELECT located FROM located WHERE request = ?", [request])
        return ObjectId(rows[0][0]) if rows else None

    def remember(self, request: str, located: ObjectId) -> ObjectId:
        """Note what answers a request, in a transaction of its own, and return what does.

        That is an older located edit where another process was first: one request always means
        the same numbers, so that equal sets have equal trees.
        """
        self.remember_all([(request, located)])
        return self.located(request) or located

    def remember_all(self, pairs: Iterable[tuple[str, ObjectId]]) -> None:
        """Note many (request, located) pairs at once; who came first stays."""
        with self.transaction():
            self.add_located(pairs)

    def all_located(self) -> list[tuple[str, ObjectId]]:
        """All (request, located) pairs."""
        rows = self.rows("SELECT request, located FROM located ORDER BY request")
        return [(request, ObjectId(located)) for request, located in rows]

    def fact(self, identifier: ObjectId) -> FactRow | None:
        """The row of a fact."""
        rows = self.rows("SELECT * FROM facts WHERE id = ?", [identifier])
        return self._typed(_fact_row, rows[0]) if rows else None

    def facts(
        self, *, prefix: str = "", subject: str | None = None, slot: str | None = None
    ) -> list[FactRow]:
        """Facts by the beginning of their id, their exact subject, their slot; all by default."""
        query = "SELECT * FROM facts WHERE id >= ? AND id < ?"
        values = [prefix, prefix + "g"]
        for column, value in (("subject", subject), ("slot", slot)):
            if value is not None:
                query += f" AND {column} = ?"
                values.append(value)
        return [self._typed(_fact_row, row) for row in self.rows(query + " ORDER BY id", values)]

    def changes(self) -> list[ChangeRow]:
        """What every recorded commit did to its slots, by commit and slot."""
        rows = self.rows("SELECT commit_id, slot, old, new FROM changes ORDER BY commit_id, slot")
        return [self._typed(lambda one: ChangeRow(*one), row) for row in rows]

    def _typed(self, read: Callable[[tuple[Any, ...]], Row], row: tuple[Any, ...]) -> Row:
        """A row as the value it stands for. Raises :class:`IndexDamaged` for other types in it."""
        try:
            value = read(row)
            wrong = misfit(value)
        except (ValueError, TypeError) as cause:
            raise IndexDamaged(self.path, f"holds a row that is none: {cause}") from cause
        if wrong is not None:
            place = quoted(str(row[0]))
            raise IndexDamaged(self.path, f"has no usable {wrong} in the row of {place}")
        return value

    def texts(self) -> dict[ObjectId, tuple[str, str]]:
        """What a search looks through: kind (``fact``, ``commit``) and text, by id."""
        rows = self.rows("SELECT id, kind, text FROM search")
        return {ObjectId(identifier): (kind, text) for identifier, kind, text in rows}


def _fact_row(row: tuple[Any, ...]) -> FactRow:
    *said, tags, valid_until = row
    return FactRow(*(*said, tuple(read_json(tags)), valid_until))


def _commit_row(row: tuple[Any, ...]) -> CommitRow:
    identifier, number, tree, parents, message, author, time, edits, live, delta, health = row
    return CommitRow(
        id=identifier,
        number=number,
        tree=tree,
        parents=tuple(read_json(parents)),
        message=message,
        author=author,
        time=time,
        edits=edits,
        live=live,
        delta=delta,
        health=tuple((name, value) for name, value in read_json(health)),
    )
