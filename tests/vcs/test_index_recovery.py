"""An index that is gone, cut or damaged is built from objects and operations; refs are as left."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from test_index_file import look, open_to_all, without_writing
from test_operation_log import altered, chain
from vcs_values import commit_facts, create, fact, located

from editvc.porcelain.reindex import repair
from editvc.vcs.fsck import fsck
from editvc.vcs.index_file import IndexDamaged
from editvc.vcs.index_rebuild import NoOperations
from editvc.vcs.recovery import reindex
from editvc.vcs.repository import Repository

__all__ = ["open_to_all"]

WHO = {"author": "Ada <ada@example.org>", "time": 5}
FIXTURES = Path(__file__).parent / "fixtures"


def history(repo: Repository) -> Repository:
    """Two branches, a deleted one, a detached HEAD, a located edit that waits."""
    first = commit_facts(repo, fact(1), fact(2))
    commit_facts(repo, fact(3))
    repo.refs.create_branch("side", first, **WHO)
    repo.refs.switch("side", **WHO)
    commit_facts(repo, fact(4))
    repo.refs.create_branch("gone", first, **WHO)
    repo.refs.delete_branch("gone", **WHO)
    repo.refs.detach(first, **WHO)
    commit_facts(repo, fact(5))
    repo.write_located([located("q" * 64, b"a")])
    return repo


def state(repo: Repository) -> list[object]:
    index = repo.index
    return [
        repo.operations.view(), index.rows("SELECT * FROM reflog"), repo.operations.current(),
        index.commits(), index.facts(), index.changes(), index.all_located(),
    ]  # fmt: skip


def index_of(folder: Path) -> Path:
    return folder / "index.db"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = history(create(tmp_path_factory.mktemp("model")))
    repo.close()
    return repo.folder


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / ".editvc")
    return tmp_path / ".editvc"


@pytest.fixture
def expected(model: Path) -> list[object]:
    with closing(Repository(model)) as repo:
        return state(repo)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (cut, "is cut short"),
        (lambda path: os.truncate(path, 60), "is cut short"),
    ],
    ids=["deleted", "emptied", "truncated", "a stump"],
)
def test_the_next_command_works(
    folder: Path, expected: list[object], spoil: Callable[[Path], None], problem: str
) -> None:
    spoil(index_of(folder))
    kept = index_of(folder).read_bytes() if index_of(folder).exists() else b""
    heard: list[str] = []
    with closing(Repository(folder, remark=heard.append)) as repo:
        assert state(repo) == expected
        assert fsck(repo).errors == () and fsck(repo).garbage == ()
        commit_facts(repo, fact(6))
    (line,) = heard
    assert problem in line and "10 operations" in line
    aside = list(folder.glob("index.db.damaged-*"))
    assert [path.read_bytes() for path in aside] == ([kept] if kept else [])
    heard.clear()
    Repository(folder, remark=heard.append).close()
    assert heard == []


def test_a_log_of_writes_goes_aside_with_its_index(folder: Path, expected: list[object]) -> None:
    """Else SQLite would take what is written in it for a part of the new one."""
    repo = Repository(folder)
    repo.index.remember("r" * 64, next(iter(repo.store.ids())))
    log = (folder / "index.db-wal").read_bytes()
    repo.close()
    index_of(folder).unlink()
    (folder / "index.db-wal").write_bytes(log)
    with closing(Repository(folder)) as again:
        assert state(again) == expected
    assert (folder / "index.db.damaged-1-wal").read_bytes() == log


def test_damage_is_refused_and_repaired(folder: Path, expected: list[object]) -> None:
    index_of(folder).write_bytes(b"not a data base, " * 1000)
    with pytest.raises(IndexDamaged) as caught:
        Repository(folder)
    assert caught.value.exit_code == 3 and "`editvc fsck --repair`" in caught.value.hint
    said = repair(folder.parent)
    assert "10 operations" in said[1] and "index.db.damaged-1" in said[2]
    assert (folder / "index.db.damaged-1").read_bytes().startswith(b"not a data base")
    with closing(Repository(folder)) as repo:
        assert state(repo) == expected
    assert repair(folder.parent) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM refs WHERE name = 'refs/heads/side'",
        "DELETE FROM refs",
        "UPDATE refs SET target = 'ref: refs/heads/side' WHERE name = 'HEAD'",
        "DELETE FROM reflog",
        "UPDATE reflog SET message = 'x' WHERE number = 3",
        "UPDATE reflog SET number = 99 WHERE number = 3",
        "INSERT INTO reflog SELECT 99, ref, old, new, author, time, message FROM reflog LIMIT 1",
        "DELETE FROM operation",
        "UPDATE operation SET id = '00'",
        "DELETE FROM commits WHERE number = 2",
        "INSERT INTO search_fts (search_fts) VALUES ('delete-all')",
    ],
)
def test_an_index_that_disagrees_is_told_and_repaired(
    folder: Path, expected: list[object], statement: str
) -> None:
    altered(folder, statement)
    with closing(Repository(folder)) as repo:
        problems = fsck(repo).errors
        assert any(one.in_index for one in problems)
    assert repair(folder.parent) != []
    with closing(Repository(folder)) as repo:
        assert state(repo) == expected and fsck(repo).errors == ()


def test_what_no_index_can_mend_is_left_alone(folder: Path) -> None:
    with closing(Repository(folder)) as repo:
        path = repo.store.path(fact(1).id)
    path.write_bytes(b"{}")
    before = index_of(folder).read_bytes()
    assert repair(folder.parent) == []
    assert index_of(folder).read_bytes() == before
    reindex(folder)
    with closing(Repository(folder)) as repo:
        assert repo.index.fact(fact(1).id) is not None, "what was known of it stays"
        assert [one.where for one in fsck(repo).errors] == [fact(1).id]


@pytest.mark.parametrize("place", [0, 4, 9])
def test_an_operation_that_is_lost(folder: Path, expected: list[object], place: int) -> None:
    """The index knows all that it did; from here on a new log says so."""
    with closing(Repository(folder)) as repo:
        behind = list(repo.operations.ancestors(repo.operations.current() or ""))
        repo.store.path(behind[place][0]).unlink()
        problems = fsck(repo).errors
        assert problems and any(one.in_index for one in problems)
    repair(folder.parent)
    with closing(Repository(folder)) as repo:
        assert state(repo)[:2] == expected[:2] and fsck(repo).errors == ()
        assert chain(repo)[0].number > 10 - (place == 0)
        commit_facts(repo, fact(6))
    index_of(folder).unlink()
    with closing(Repository(folder)) as repo:
        assert len(repo.operations.moves()) == len(expected[1]) + 1  # type: ignore[arg-type]
        assert fsck(repo).errors == ()


def test_a_medium_that_takes_no_write(open_to_all: Repository) -> None:
    repo = open_to_all
    head = commit_facts(repo, fact(1))
    repo.close()
    repo.index.path.unlink()
    with without_writing(repo.folder):
        seen, refused = look(repo.folder.parent)
    assert seen == f"{head} 1 True"
    assert "cannot be used: it cannot be written" in refused
    assert not repo.index.path.exists()


def test_an_old_index_on_a_medium_that_takes_no_write(
    open_to_all: Repository, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / ".editvc")
    shutil.unpack_archive(FIXTURES / "format-1.zip", tmp_path)
    before = (tmp_path / ".editvc" / "index.db").read_bytes()
    with without_writing(tmp_path / ".editvc"):
        seen, _ = look(tmp_path)
    assert seen.endswith(" 5 True")
    assert (tmp_path / ".editvc" / "index.db").read_bytes() == before


def test_without_operations_nobody_knows(tmp_path: Path) -> None:
    shutil.unpack_archive(FIXTURES / "format-1.zip", tmp_path)
    folder = tmp_path / ".editvc"
    reindex(folder)  # keeps refs and reflog
    with closing(Repository(folder)) as repo:
        assert len(repo.operations.moves()) == 14 and repo.operations.current() is None
    index_of(folder).unlink()
    with pytest.raises(NoOperations) as caught:
        Repository(folder)
    assert caught.value.exit_code == 3 and "copy" in caught.value.hint
    assert list(folder.glob("*.tmp*")) == [] and list(folder.glob(".tmp*")) == []


def test_who_meets_a_missing_index_at_once(folder: Path, expected: list[object]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    index_of(folder).unlink()
    heard: list[str] = []

    def opened(_: int) -> list[object]:
        with closing(Repository(folder, remark=heard.append)) as repo:
            return state(repo)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [expected] * 4
    assert len(heard) == 1, "one builds it, the others wait"


def test_a_table_is_not_there(folder: Path, expected: list[object]) -> None:
    with closing(sqlite3.connect(index_of(folder))) as connection:
        connection.execute("DROP TABLE reflog")
    repair(folder.parent)
    with closing(Repository(folder)) as repo:
        assert state(repo) == expected
