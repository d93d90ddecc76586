"""An index of an older format is migrated, one of no known format rebuilt; refs always stay."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import commit_facts, create, fact, located

from editvc.core.facts import Fact
from editvc.core.ids import ObjectId, object_id
from editvc.vcs import index_schema
from editvc.vcs.fsck import fsck
from editvc.vcs.index import VERSION
from editvc.vcs.index_file import IndexDamaged
from editvc.vcs.index_schema import SearchUnavailable
from editvc.vcs.repository import Repository
from editvc.vcs.search import Search
from editvc.vcs.store import DiskStore

FIXTURES = Path(__file__).parent / "fixtures"

FRANCE = Fact(
    "France", "The capital of {} is", "Rome", target_true="Paris",
    tags=("capital", 'a "quoted" tag'), source="the tutorial",
)  # fmt: skip
TOKYO = Fact("東京", "{} は日本の", "首都", relation="P1376")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The ``.editvc`` with an index of format 1."""
    shutil.unpack_archive(FIXTURES / "format-1.zip", tmp_path)
    return tmp_path / ".editvc"


@pytest.fixture
def foreign(old: Path) -> Path:
    """The same with an index of no known format."""
    shutil.copy(FIXTURES / "foreign-index.db", old / "index.db")
    return old


@pytest.fixture(params=["old", "foreign"])
def outdated(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def table(folder: Path, name: str) -> list[tuple[object, ...]]:
    """A table as it is in the file, read without editvc."""
    with closing(sqlite3.connect(folder / "index.db")) as connection:
        return connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "index.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def shape(folder: Path) -> dict[tuple[str, str], object]:
    """Tables with their columns, and all indexes, triggers and views, by kind and name."""
    with closing(sqlite3.connect(folder / "index.db")) as connection:
        found: dict[tuple[str, str], object] = {}
        query = "SELECT type, name, sql FROM sqlite_master"
        for kind, name, sql in connection.execute(query).fetchall():
            columns = connection.execute(f"PRAGMA table_info('{name}')").fetchall()
            about = connection.execute(f"PRAGMA index_info('{name}')").fetchall()
            found[kind, name] = columns if kind == "table" else about if kind == "index" else sql
        return found


def test_the_fixtures_are_older(old: Path) -> None:
    assert version(old) == 1 < VERSION
    shutil.copy(FIXTURES / "foreign-index.db", old / "index.db")
    assert version(old) == 0


def test_refs_and_reflog_stay(outdated: Path) -> None:
    before = table(outdated, "refs"), table(outdated, "reflog")
    assert len(before[0]) == 3 and len(before[1]) == 14
    Repository(outdated).close()
    assert version(outdated) == VERSION
    assert (table(outdated, "refs"), table(outdated, "reflog")) == before


def test_everything_is_there_afterwards(outdated: Path) -> None:
    repo = Repository(outdated)
    report = fsck(repo)
    assert report.errors == ()
    assert {row.id for row in repo.index.facts()} == {
        one.id for one in (FRANCE, TOKYO, fact(1), fact(2), fact(1, "blue"), fact(7))
    }
    assert sorted(row.number for row in repo.index.commits()) == [1, 2, 2, 3, 4]
    france = repo.index.fact(FRANCE.id)
    assert france is not None
    assert (france.target_true, france.source, france.tags) == (
        "Paris",
        "the tutorial",
        FRANCE.tags,
    )
    assert Search(repo.index).holding("tutorial paris QUOTED") == {FRANCE.id}
    head = commit_facts(repo, fact(8))  # and work goes on
    assert set(Search(repo.index).live(head)) == {
        one.id for one in (FRANCE, TOKYO, fact(7), fact(8))
    }
    assert fsck(repo).errors == ()


def test_an_upgraded_index_has_the_tables_of_a_new_one(outdated: Path, tmp_path: Path) -> None:
    Repository(outdated).close()
    (tmp_path / "new").mkdir()
    new = create(tmp_path / "new")
    new.close()
    upgraded = shape(outdated)
    upgraded.pop(("table", "notes"), None)
    assert upgraded == shape(new.folder)


def test_who_came_first_stays_first(old: Path) -> None:
    request = "e" * 64
    first = object_id(located(request, b"first..."))
    assert table(old, "located").count((request, first)) == 1
    with closing(Repository(old)) as repo:
        assert repo.store.contains(object_id(located(request, b"second..")))
        assert repo.index.located(request) == first


def test_a_table_of_the_users_own_stays(foreign: Path) -> None:
    Repository(foreign).close()
    assert table(foreign, "notes") == [("a table of the user's own",)]


def test_a_migration_reads_what_the_rows_name_and_a_rebuild_everything(
    outdated: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics and located edits may be gigabytes."""
    names: set[ObjectId] = set()
    get = DiskStore.get
    monkeypatch.setattr(DiskStore, "get", lambda self, one: names.add(one) or get(self, one))
    repo = Repository(outdated)
    assert {row.id for row in repo.index.facts()} <= names
    everything = "foreign" in request.node.name
    statistics = ObjectId(repo.config.recipe.statistics)
    assert (statistics in names) == everything


def test_an_unreadable_object_is_for_fsck_to_report(outdated: Path) -> None:
    (outdated / "objects" / FRANCE.id[:2] / FRANCE.id[2:]).write_bytes(b"{}")
    repo = Repository(outdated)
    assert len(repo.index.commits()) == 5
    assert [problem.where for problem in fsck(repo).errors] == [FRANCE.id]


def test_refs_of_an_unknown_form_are_damage(old: Path) -> None:
    with closing(sqlite3.connect(old / "index.db")) as connection:
        connection.execute("ALTER TABLE refs ADD COLUMN more TEXT")
    with pytest.raises(IndexDamaged, match="refs of an unknown form"):
        Repository(old)
    assert version(old) == 1


def test_a_sqlite_without_trigrams_is_told_and_nothing_changes(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shape(old)
    monkeypatch.setattr(index_schema, "TOKENIZER", "none_such")
    with pytest.raises(SearchUnavailable, match="no such tokenizer") as caught:
        Repository(old)
    assert "3.34" in caught.value.hint
    assert version(old) == 1 and shape(old) == before
    (tmp_path / "new").mkdir()
    with pytest.raises(SearchUnavailable):
        create(tmp_path / "new")
    assert not (tmp_path / "new" / ".editvc").exists()


def stopping_before(steps: int) -> Callable[[str], None]:
    left = iter(range(steps))

    def fault(step: str) -> None:
        if next(left, None) is None:
            raise InterruptedError(step)

    return fault


@pytest.mark.parametrize(("steps", "reached"), [(0, 1), (1, 1), (2, VERSION)])
def test_an_upgrade_stopped_anywhere(old: Path, steps: int, reached: int) -> None:
    """It is one transaction: begin, commit, committed."""
    before = table(old, "refs"), table(old, "reflog"), shape(old)
    with pytest.raises(InterruptedError):
        Repository(old, stopping_before(steps))
    assert version(old) == reached
    if reached == 1:
        assert (table(old, "refs"), table(old, "reflog"), shape(old)) == before
    with closing(Repository(old)) as repo:
        assert fsck(repo).errors == ()
    assert (table(old, "refs"), table(old, "reflog")) == before[:2]


def test_processes_that_meet_an_old_index_at_once(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table(old, "refs"), table(old, "reflog")
    readings = list[object]()
    read = index_schema.contents_of
    monkeypatch.setattr(
        index_schema, "contents_of", lambda *given: readings.append(given) or read(*given)
    )

    def opened(_: int) -> int:
        with closing(Repository(old)) as repo:
            return len(repo.index.changes())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [7] * 4
    assert len(readings) == 1, "one upgrades, the others wait for it"
    assert (table(old, "refs"), table(old, "reflog")) == before


def test_an_index_of_today_needs_no_sqlite_utils(
    outdated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Repository(outdated).close()
    monkeypatch.delitem(sys.modules, "editvc.vcs.index_schema")
    monkeypatch.setitem(sys.modules, "sqlite_utils", None)
    with closing(Repository(outdated)) as repo:
        assert repo.index.version == VERSION
