"""A query reads whatever it likes, and can do nothing else."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vcs_values import commit_facts, fact

from editvc.vcs.index_file import IndexDamaged
from editvc.vcs.read_only import QueryError, Rows, read
from editvc.vcs.repository import Repository

NUMBERS = "n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000000)"
"""So many that counting them takes seconds."""


@pytest.fixture
def path(repo: Repository) -> Path:
    commit_facts(repo, fact(1), fact(2, "blue"))
    return repo.index.path


def everything(path: Path) -> dict[str, bytes]:
    """All bytes beside the index; ``-shm`` is the memory that its readers share."""
    files = (one for one in path.parent.rglob("*") if one.is_file())
    return {one.name: one.read_bytes() for one in files if not one.name.endswith("-shm")}


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT target_new FROM live ORDER BY subject", [("green",), ("blue",)]),
        ('  -- a remark\n SELECT 1; ', [(1,)]),
        ("VALUES (1, 2.5, 'x', NULL, x'00ff')", [(1, 2.5, "x", None, b"\x00\xff")]),
        ("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT * FROM n",
         [(1,), (2,), (3,)]),
        ("SELECT count(*) FROM search_fts WHERE search_fts MATCH 'blue'", [(1,)]),
        ("SELECT value FROM facts, json_each(facts.tags)", []),
        ("SELECT name FROM pragma_table_info('refs')", [("name",), ("target",)]),
        ("SELECT 1 WHERE 0", []),
    ],
)  # fmt: skip
def test_reading(path: Path, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert list(read(path, sql).rows) == rows


def test_columns_are_named_where_there_are_no_rows_and_told_apart(path: Path) -> None:
    assert read(path, "SELECT subject, subject FROM facts WHERE 0") == Rows(
        ("subject", "subject_2"), ()
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM refs",
        "INSERT INTO facts (id) VALUES ('x') RETURNING id",
        "UPDATE refs SET target = 'x'",
        "REPLACE INTO refs VALUES ('HEAD', 'x')",
        "WITH x AS (SELECT 1) DELETE FROM refs",
        "EXPLAIN DELETE FROM refs",
        "CREATE TABLE more (x)",
        "CREATE TEMP TABLE more (x)",
        "CREATE VIRTUAL TABLE more USING fts5(x)",
        "DROP TABLE refs",
        "ALTER TABLE refs RENAME TO others",
        "UPDATE sqlite_master SET sql = 'x'",
        "INSERT INTO search_fts (search_fts) VALUES ('rebuild')",
        "ATTACH 'other.db' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO 'other.db'",
        "ANALYZE",
        "REINDEX",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "PRAGMA user_version = 9",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "PRAGMA query_only = OFF",
        "PRAGMA wal_checkpoint",
        "PRAGMA optimize",
        "SELECT load_extension('x')",
        "SELECT writefile('other.db', 'x')",
    ],
)
def test_whatever_does_more_is_refused(
    path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    before = everything(path)
    with pytest.raises(QueryError, match="the query failed: ") as caught:
        read(path, sql)
    assert caught.value.exit_code == 1 and caught.value.hint
    assert everything(path) == before


def test_a_refusal_says_so(path: Path) -> None:
    for sql in (
        "DELETE FROM refs",
        "CREATE TABLE more (x)",
        "ATTACH 'x' AS y",
        "PRAGMA user_version",
    ):
        with pytest.raises(QueryError, match="it would do more than read"):
            read(path, sql)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT * FROM fact", "no such table: fact"),
        ("SELECT subjct FROM facts", "no such column: subjct"),
        ("SELCT 1", 'near "SELCT": syntax error'),
        ("SELECT", "incomplete input"),
        ("", "it gives no rows"),
        (";", "it gives no rows"),
        ("-- only a remark", "it gives no rows"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT ?", "bindings"),
        ("SELECT 'a\0b'", "null character"),
        ("SELECT '\ud800'", "surrogates"),
        ("SELECT json_extract('{', '$')", "malformed JSON"),
        ("SELECT CAST(x'ff' AS TEXT)", "UTF-8"),
        ("SELECT abs(-9223372036854775808)", "overflow"),
    ],
)
def test_mistakes_are_the_users(path: Path, sql: str, problem: str) -> None:
    with pytest.raises(QueryError, match="(?s)the query failed: .*" + problem):
        read(path, sql)


@given(st.text(max_size=30) | st.text("SELECT*FROMfacts'\"();-,1 ", max_size=30))
def test_any_text_is_a_query_or_a_mistake(repo: Repository, text: str) -> None:
    try:
        assert isinstance(read(repo.index.path, text), Rows)
    except QueryError as error:
        assert str(error).startswith("the query failed: ")


def test_a_damaged_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"not a database, for sure, as anybody can see" * 40)
    with pytest.raises(IndexDamaged, match="cannot be used"):
        read(path, "SELECT * FROM facts")


def test_a_query_sees_what_was_committed_and_disturbs_no_writer(repo: Repository) -> None:
    path = repo.index.path
    with repo.index.transaction():
        repo.index.write("INSERT INTO located VALUES ('a', 'b')", [()])
        assert read(path, "SELECT * FROM located").rows == ()
    assert read(path, "SELECT * FROM located").rows == (("a", "b"),)


def test_a_query_that_does_not_end_is_interrupted(
    path: Path,
) -> None:
    """A signal comes while SQLite is at work, deep in C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            read(path, f"WITH RECURSIVE {NUMBERS} SELECT max(i) FROM n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError), "SQLite was stopped"
