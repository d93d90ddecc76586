"""``index.db``: refs and reflog under transactions, and what ``log`` needs without objects.

SQLite in WAL mode with ``synchronous=FULL``: a transaction that has returned survives power loss.
Refs and reflog live here and nowhere else; commits, facts and located edits can be built anew
from the objects. Plain ``sqlite3`` and not sqlite-utils: importing that costs 0.3 s where pandas
is installed, as much as ``editvc log`` may take in all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Commit
from editvc.core.ids import ObjectId
from editvc.errors import DamageError, EditvcError
from editvc.vcs import codec
from editvc.vcs.files import Fault, no_fault
from editvc.vcs.object_links import ELEMENTS
from editvc.vcs.store import ObjectDamaged, ObjectStore

VERSION = 1
BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE refs (name TEXT PRIMARY KEY, target TEXT NOT NULL);
CREATE TABLE reflog (
    number INTEGER PRIMARY KEY AUTOINCREMENT, ref TEXT NOT NULL, old TEXT, new TEXT,
    author TEXT NOT NULL, time INTEGER NOT NULL, message TEXT NOT NULL);
CREATE INDEX reflog_by_ref ON reflog (ref, number);
CREATE TABLE commits (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, tree TEXT NOT NULL, parents TEXT NOT NULL,
    message TEXT NOT NULL, author TEXT NOT NULL, time INTEGER NOT NULL,
    edits INTEGER NOT NULL, live INTEGER NOT NULL, delta TEXT, health TEXT NOT NULL);
CREATE TABLE located (request TEXT PRIMARY KEY, located TEXT NOT NULL);
CREATE TABLE facts (
    id TEXT PRIMARY KEY, slot TEXT NOT NULL, subject TEXT NOT NULL, prompt TEXT NOT NULL,
    target_new TEXT NOT NULL);
CREATE INDEX facts_by_slot ON facts (slot);
CREATE INDEX facts_by_subject ON facts (subject);
"""


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


class IndexTooNew(EditvcError):
    """The index was written by a later editvc."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} has format {version}, this editvc knows up to {VERSION}",
            hint="Install a newer editvc.",
        )
        self.version = version


@dataclass(frozen=True, slots=True)
class CommitRow:
    """A commit and its id, as ``log`` shows it, read without opening its object."""

    id: ObjectId
    number: int
    tree: ObjectId
    parents: tuple[ObjectId, ...]
    message: str
    author: str
    time: int
    edits: int
    live: int
    delta: ObjectId | None
    health: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, identifier: ObjectId, commit: Commit) -> CommitRow:
        """The row of a commit."""
        return cls(
            id=identifier,
            number=commit.number,
            tree=commit.tree,
            parents=commit.parents,
            message=commit.message,
            author=commit.author,
            time=commit.time,
            edits=commit.edits,
            live=commit.live,
            delta=commit.delta,
            health=tuple(sorted(commit.health)),
        )


@dataclass(frozen=True, slots=True)
class FactRow:
    """What a fact says, by its id."""

    id: ObjectId
    slot: str
    subject: str
    prompt: str
    target_new: str

    @classmethod
    def of(cls, identifier: ObjectId, fact: Fact) -> FactRow:
        """The row of a fact."""
        return cls(identifier, fact.slot, fact.subject, fact.prompt, fact.target_new)


class Index:
    """One open ``index.db``. Not to be shared between threads."""

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        """Open an existing index; raises :class:`IndexDamaged` where there is none."""
        if not path.is_file():
            raise IndexDamaged(path, "is missing")
        self.path = path
        self.fault: Fault = fault or no_fault
        with self._guarded():
            self.connection = _connected(path)
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                raise IndexDamaged(path, "holds no editvc tables")
        if version > VERSION:
            raise IndexTooNew(path, version)

    @classmethod
    def create(cls, path: Path, fault: Fault | None = None) -> Index:
        """Make a new index file, with no refs in it."""
        connection = _connected(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        connection.close()
        return cls(path, fault)

    def close(self) -> None:
        """Give the file back; the index cannot be used afterwards."""
        self.connection.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as cause:
            if "locked" in str(cause) or "busy" in str(cause):
                raise IndexBusy(self.path) from cause
            raise IndexDamaged(self.path, f"cannot be used: {cause}") from cause

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens at once, or not at all if an exception leaves it.

        Other writers wait from the first line on, so what is read inside stays true.
        """
        self.fault("begin")
        with self._guarded():
            self.connection.execute("BEGIN IMMEDIATE")
        try:
            with self._guarded():
                yield
                self.fault("commit")
                self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.fault("committed")

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """The result of a reading query, whole."""
        with self._guarded():
            return self.connection.execute(query, tuple(values)).fetchall()

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        return [str(row[0]) for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    def write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a writing statement for each row. Only inside :meth:`transaction`."""
        with self._guarded():
            self.connection.executemany(statement, rows)

    def add_commits(self, rows: Iterable[CommitRow]) -> None:
        """Add commits. Only inside :meth:`transaction`."""
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
        self.write(
            "INSERT OR REPLACE INTO facts VALUES (?,?,?,?,?)",
            ((row.id, row.slot, row.subject, row.prompt, row.target_new) for row in rows),
        )

    def add_located(self, pairs: Iterable[tuple[str, ObjectId]]) -> None:
        """Add (request, located) pairs; who came first stays. Only inside :meth:`transaction`."""
        self.write("INSERT OR IGNORE INTO located VALUES (?,?)", pairs)

    def commit(self, identifier: ObjectId) -> CommitRow | None:
        """The row of a commit."""
        rows = self.rows("SELECT * FROM commits WHERE id = ?", [identifier])
        return _commit_row(rows[0]) if rows else None

    def commits(self) -> list[CommitRow]:
        """All recorded commits, reachable or not, in id order."""
        return [_commit_row(row) for row in self.rows("SELECT * FROM commits ORDER BY id")]

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
        return FactRow(*rows[0]) if rows else None

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
        return [FactRow(*row) for row in self.rows(query + " ORDER BY id", values)]

    def rebuild(self, store: ObjectStore) -> list[ObjectDamaged]:
        """Build commits, facts and located anew from the objects; refs and reflog stay.

        Objects that cannot be read are left out and returned as the errors they gave.
        """
        commits, facts, located, damage = [], [], [], list[ObjectDamaged]()
        for identifier in store.ids():
            try:
                data = store.get(identifier)
                record = codec.record_of(data)
                if record["kind"] == "commit":
                    commits.append(CommitRow.of(identifier, codec.decode_commit(data)))
                elif record["kind"] == "fact":
                    facts.append(FactRow.of(identifier, codec.decode_fact(data)))
                elif record["kind"] in ELEMENTS and record.get("request") is not None:
                    located.append((str(record["request"]), identifier))
            except ObjectDamaged as error:
                damage.append(error)
        found = set(located)
        winners = [pair for pair in self.all_located() if pair in found]
        with self.transaction():
            for table in ("commits", "facts", "located"):
                self.write(f"DELETE FROM {table}", [()])
            self.add_commits(commits)
            self.add_facts(facts)
            self.add_located(winners + located)  # who came first comes first
        return damage


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _commit_row(row: tuple[Any, ...]) -> CommitRow:
    identifier, number, tree, parents, message, author, time, edits, live, delta, health = row
    return CommitRow(
        id=identifier,
        number=number,
        tree=tree,
        parents=tuple(json.loads(parents)),
        message=message,
        author=author,
        time=time,
        edits=edits,
        live=live,
        delta=delta,
        health=tuple((name, value) for name, value in json.loads(health)),
    )
