"""The tables of ``index.db``, and how an older index comes to have them.

Each migration leads from one format to the next; a new index runs through all of them. Only
``init`` and the first command after an update import this: sqlite-utils takes its time.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database, Migrations

from editvc.errors import EditvcError
from editvc.vcs.index import VERSION, Index
from editvc.vcs.index_file import IndexDamaged, connected, meaning_of
from editvc.vcs.index_rebuild import Contents, add, contents_of, replace
from editvc.vcs.store import ObjectStore

FIRST = {
    "refs": ["name", "target"],
    "reflog": ["number", "ref", "old", "new", "author", "time", "message"],
    "commits": [
        "id", "number", "tree", "parents", "message", "author", "time", "edits", "live", "delta",
        "health",
    ],
    "located": ["request", "located"],
    "facts": ["id", "slot", "subject", "prompt", "target_new"],
}  # fmt: skip
"""The columns of format 1. Those of ``refs`` and ``reflog``, which no object repeats, stay."""

LATER = ("live", "search_fts", "search", "changes", "operation")
"""What later formats brought."""

TOKENIZER = "trigram case_sensitive 1"
"""Parts of words are found, in any script. Case is folded before, by ``searchable``."""

HEAD = """
    SELECT coalesce(branch.target, head.target)
    FROM refs AS head LEFT JOIN refs AS branch ON head.target = 'ref: ' || branch.name
    WHERE head.name = 'HEAD'
"""


class SearchUnavailable(EditvcError):
    """The SQLite that this Python came with cannot search in texts."""

    def __init__(self, cause: sqlite3.OperationalError) -> None:
        super().__init__(
            f"SQLite {sqlite3.sqlite_version} has no full-text index of trigrams: {cause}",
            hint="Use a Python with SQLite 3.34 or newer, built with FTS5.",
        )


def live_at(commit: str) -> str:
    """A query for the facts that are live at a commit, each with the commit that brought it.

    ``commit`` is an SQL expression. Of each slot the newest change on the line of first parents
    counts: SQLite takes the other columns from the row that has the maximum.
    """
    return f"""
SELECT facts.*, newest.commit_id FROM (
    WITH RECURSIVE line (id, number, parent) AS (
        SELECT id, number, json_extract(parents, '$[0]') FROM commits WHERE id = ({commit})
        UNION ALL
        SELECT commits.id, commits.number, json_extract(commits.parents, '$[0]')
        FROM line JOIN commits ON commits.id = line.parent
    )
    SELECT changes.new, changes.commit_id, max(line.number)
    FROM line JOIN changes ON changes.commit_id = line.id GROUP BY changes.slot
) AS newest JOIN facts ON facts.id = newest.new
"""


migrations = Migrations("editvc")


@migrations()
def first_tables(db: Database) -> None:
    """Format 1. An index of that format has them, and no record of migrations."""
    db.table("refs").create(
        {"name": str, "target": str}, pk="name", not_null=["target"], if_not_exists=True
    )
    # sqlite-utils has no word for AUTOINCREMENT: a number is never given twice.
    db.execute(
        "CREATE TABLE IF NOT EXISTS reflog ("
        "number INTEGER PRIMARY KEY AUTOINCREMENT, ref TEXT NOT NULL, old TEXT, new TEXT, "
        "author TEXT NOT NULL, time INTEGER NOT NULL, message TEXT NOT NULL)"
    )
    db.table("reflog").create_index(["ref", "number"], "reflog_by_ref", if_not_exists=True)
    commit = dict.fromkeys(FIRST["commits"], str) | dict.fromkeys(
        ("number", "time", "edits", "live"), int
    )
    db.table("commits").create(
        commit, pk="id", not_null=commit.keys() - {"id", "delta"}, if_not_exists=True
    )
    db.table("located").create(
        {"request": str, "located": str}, pk="request", not_null=["located"], if_not_exists=True
    )
    fact = dict.fromkeys(FIRST["facts"], str)
    db.table("facts").create(fact, pk="id", not_null=fact.keys() - {"id"}, if_not_exists=True)
    for column in ("slot", "subject"):
        db.table("facts").create_index([column], f"facts_by_{column}", if_not_exists=True)


@migrations()
def facts_in_full(db: Database) -> None:
    """What else a fact says, for queries."""
    for column in ("target_true", "relation", "source"):
        db.table("facts").add_column(column, str)
    db.table("facts").add_column("tags", str, not_null_default="[]")


@migrations()
def changes(db: Database) -> None:
    """Which commit changed which slot, and the facts that are live at HEAD."""
    db.table("changes").create(
        {"commit_id": str, "slot": str, "old": str, "new": str}, pk=("commit_id", "slot")
    )
    db.table("changes").create_index(["new"], "changes_by_new")
    db.create_view("live", live_at(HEAD))


@migrations()
def search(db: Database) -> None:
    """The texts of facts and commits, and the full-text index that triggers keep in step."""
    texts = db.table("search")
    texts.create({"number": int, "id": str, "kind": str, "text": str}, pk="number",
                 not_null=["id", "kind", "text"])  # fmt: skip
    texts.create_index(["id"], "search_by_id", unique=True)
    try:
        texts.enable_fts(["text"], tokenize=TOKENIZER, create_triggers=True)
    except sqlite3.OperationalError as cause:
        if "no such" not in str(cause):
            raise
        raise SearchUnavailable(cause) from cause


@migrations()
def operation(db: Database) -> None:
    """The newest operation, in a row of its own."""
    db.table("operation").create({"id": str}, pk="id")


@migrations()
def last_days(db: Database) -> None:
    """Until when a fact holds. No fact of an older index says that."""
    db.table("facts").add_column("valid_until", str)
    db.table("facts").create_index(["valid_until"], "facts_by_valid_until")


def create(path: Path) -> None:
    """Make a new index file, with no refs in it. Raises ``IndexRefused``."""
    try:
        with closing(connected(path)) as connection:
            create_in(connection)
    except sqlite3.DatabaseError as cause:
        raise meaning_of(cause, path) from cause


def create_in(connection: sqlite3.Connection) -> None:
    """Make the tables of a new index in an empty database."""
    db = Database(connection, execute_plugins=False)
    db.enable_wal()
    with db.atomic():
        _migrate(db)


def upgrade(index: Index, store: ObjectStore) -> None:
    """Bring an index of an older format to today's, all of it or nothing; refs and reflog stay.

    An index of an older format is migrated: its rows stay, and what those of format 1 did not hold
    is read from the objects that they name. One whose tables are of no known format has them
    rebuilt from all objects. What cannot be read is left as it was, for ``fsck`` to report.
    """
    with index.unrecorded():
        before = index.version
        if before == VERSION:
            return  # another process was faster
        db = Database(index.connection, execute_plugins=False)
        foreign = {name for name in FIRST if _columns(db, name) != FIRST[name]}
        if foreign & {"refs", "reflog"}:
            raise IndexDamaged(index.path, "has refs of an unknown form")
        if foreign and not migrations.applied(db):
            for name in (*LATER, *sorted(foreign)):
                db[name].drop(ignore=True)
            _migrate(db)
            replace(index, contents_of(store, store.ids()))
        else:
            _migrate(db)
            if before > 1:
                return
            facts, commits = index.facts(), index.commits()
            add(index, Contents(commits, facts))  # so that these are found, readable or not
            named = [row.id for row in facts] + [row.id for row in commits]
            add(index, contents_of(store, named))


def _migrate(db: Database) -> None:
    migrations.apply(db)
    db.execute(f"PRAGMA user_version={VERSION}")


def _columns(db: Database, table: str) -> list[str]:
    return [column.name for column in db.table(table).columns]
