"""One flipped bit in HEAD, a ref, a line of the reflog, or config.toml: fsck notices every one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vcs_values import commit_facts, create, fact, quick_folder

from editvc.errors import EditvcError
from editvc.vcs.fsck import fsck
from editvc.vcs.repository import Repository

WHO = {"author": "Ada <ada@example.org>", "time": 1_700_000_000}
COLUMNS = {
    "refs": ("name", "target"),
    "reflog": ("number", "ref", "old", "new", "author", "time", "message"),
    "operation": ("id",),
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with quick_folder() as work:
        repo = create(work)
        first = commit_facts(repo, fact(1))
        repo.refs.create_branch("side", first, **WHO)
        commit_facts(repo, fact(2))
        repo.refs.switch("side", **WHO)
        repo.close()
        yield repo.folder


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def noticed(folder: Path) -> bool:
    """Whether fsck tells, or the repository cannot even be opened."""
    try:
        with closing(Repository(folder)) as repo:
            return not fsck(repo).clean
    except EditvcError:
        return True


@pytest.mark.parametrize("table", COLUMNS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_in_a_row(folder: Path, table: str, data: st.DataObject) -> None:
    with closing(sqlite3.connect(folder / "index.db", isolation_level=None)) as connection:
        rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        row = data.draw(st.sampled_from(rows))
        column = data.draw(st.sampled_from(COLUMNS[table]))
        value = row[1 + COLUMNS[table].index(column)]
        if value is None:
            changed: object = "0" * 64
        elif isinstance(value, int):
            changed = value ^ 1 << data.draw(st.integers(0, 40))
        else:
            text = str(value).encode()
            # As SQLite would give it back: what is no UTF-8 any more is no text for Python.
            changed = flipped(text, data.draw(st.integers(0, 8 * len(text) - 1))).decode("latin-1")
        where = (changed if column == "number" else row[0], value)
        try:
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row[0])
            )
        except sqlite3.IntegrityError:
            return  # another row has that name or number
        try:
            assert noticed(folder), (table, column, value, changed)
        finally:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", where[::-1])
    assert not noticed(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_in_the_settings(folder: Path, data: st.DataObject) -> None:
    path = folder / "config.toml"
    sound = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(sound) - 1))
    path.write_bytes(flipped(sound, bit))
    try:
        assert noticed(folder)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("table", COLUMNS)
def test_a_row_that_is_gone(folder: Path, table: str) -> None:
    with closing(sqlite3.connect(folder / "index.db", isolation_level=None)) as connection:
        rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        for rowid, *values in rows:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", [rowid])
            assert noticed(folder), values
            columns = ", ".join(COLUMNS[table])
            marks = ", ".join("?" * (1 + len(values)))
            connection.execute(
                f"INSERT INTO {table} (rowid, {columns}) VALUES ({marks})", [rowid, *values]
            )
    assert not noticed(folder)


def test_a_file_edited_by_hand_is_accepted_on_request(folder: Path) -> None:
    with closing(Repository(folder)) as repo:
        path = repo.config_file.path
        sound = path.read_text()
        path.write_text(sound + "\n# by hand\n")
        (problem,) = fsck(repo).errors
        assert problem.where == "config.toml" and "`editvc config --accept`" in problem.what
        repo.accept_config()
        assert fsck(repo).clean
        path.write_text(sound)
        assert fsck(repo).clean, "as editvc wrote it, too"
