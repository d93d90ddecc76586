from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import commit_facts, fact, located

from editvc.core.ids import ObjectId
from editvc.vcs.index import VERSION, Index, IndexTooNew
from editvc.vcs.index_file import IndexBusy, IndexDamaged, IndexMissing
from editvc.vcs.index_rebuild import rebuild
from editvc.vcs.index_rows import CommitRow, FactRow
from editvc.vcs.repository import Repository


def contents(index: Index) -> list[object]:
    return [index.commits(), index.facts(), index.all_located()]


def test_durable_and_concurrent_settings(repo: Repository) -> None:
    assert repo.index.rows("PRAGMA journal_mode") == [("wal",)]
    assert repo.index.rows("PRAGMA synchronous") == [(2,)]  # FULL
    assert repo.index.rows("PRAGMA user_version") == [(VERSION,)]


def test_rows_say_what_the_objects_say(repo: Repository) -> None:
    commit_facts(repo, fact(1), fact(2))
    head = commit_facts(repo, fact(3))
    row = repo.index.commit(head)
    assert row == CommitRow.of(head, repo.read_commit(head))
    assert repo.index.commit(ObjectId("0" * 64)) is None
    assert repo.index.fact(fact(3).id) == FactRow.of(fact(3).id, fact(3))
    assert repo.index.fact(ObjectId("0" * 64)) is None


def test_facts_are_found_by_id_subject_and_slot(repo: Repository) -> None:
    commit_facts(repo, *(fact(number) for number in range(20)))
    one = fact(7)
    assert [row.id for row in repo.index.facts(prefix=one.id[:10])] == [one.id]
    assert [row.id for row in repo.index.facts(subject="Thing 7")] == [one.id]
    assert [row.id for row in repo.index.facts(slot=one.slot)] == [one.id]
    assert repo.index.facts(slot=one.slot, subject="Thing 8") == []
    assert len(repo.index.facts()) == 20


def test_the_first_located_edit_of_a_request_wins(repo: Repository) -> None:
    first, second = located("r" * 64, b"a"), located("r" * 64, b"b")
    (winner,) = repo.write_located([first])
    assert repo.write_located([second, first]) == [winner, winner]
    assert repo.index.located("r" * 64) == winner
    assert repo.index.remember("r" * 64, ObjectId("0" * 64)) == winner
    assert repo.index.located("none") is None


def test_located_edits_without_a_request_stand_for_themselves(repo: Repository) -> None:
    from vcs_values import safetensors

    alone = safetensors({"kind": "located", "request": None})
    batch = safetensors({"kind": "located", "batch": "x"})
    ids = repo.write_located([alone, batch])
    assert [repo.store.get(one) for one in ids] == [alone, batch]
    assert repo.index.all_located() == []


def test_rebuild_gives_the_same_rows_from_objects_alone(repo: Repository) -> None:
    for number in range(3):
        commit_facts(repo, fact(number))
    repo.write_located([located("q" * 64, b"a")])
    before, refs = contents(repo.index), repo.refs.all()
    with repo.index.transaction():
        for table in ("commits", "facts", "located"):
            repo.index.write(f"DELETE FROM {table}", [()])
    assert contents(repo.index) == [[], [], []]
    assert rebuild(repo.index, repo.store).damage == ()
    assert contents(repo.index) == before
    assert repo.refs.all() == refs


def test_rebuild_keeps_the_winner_and_reports_what_it_cannot_read(repo: Repository) -> None:
    versions = [located("q" * 64, bytes([number])) for number in range(6)]
    winner = max(repo.store.put_all(versions))
    repo.index.remember("q" * 64, winner)
    commit_facts(repo, fact(1))
    repo.store.path(fact(1).id).write_bytes(b"{}")
    (damage,) = rebuild(repo.index, repo.store).damage
    assert damage.id == fact(1).id
    assert repo.index.located("q" * 64) == winner
    assert repo.index.fact(fact(1).id) == FactRow.of(fact(1).id, fact(1)), "as it was known"


def test_an_exception_undoes_the_whole_transaction(repo: Repository) -> None:
    with pytest.raises(KeyError), repo.index.transaction():
        repo.index.add_located([("a", ObjectId("b"))])
        raise KeyError
    assert repo.index.all_located() == []
    repo.index.remember("a", ObjectId("c"))  # and the index is free again
    assert repo.index.located("a") == "c"


def test_a_missing_file_is_damage_and_not_a_new_index(tmp_path: Path) -> None:
    with pytest.raises(IndexDamaged, match="is missing"):
        Index(tmp_path / "index.db")
    assert not (tmp_path / "index.db").exists()


def test_a_file_that_is_no_index(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"not a database, for sure, as anybody can see" * 40)
    with pytest.raises(IndexDamaged, match="cannot be used"):
        Index(path)
    path.write_bytes(b"")
    with pytest.raises(IndexMissing, match="is empty"):
        Index(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
    with pytest.raises(IndexDamaged, match="no editvc tables"):
        Index(path)


def test_an_index_of_a_later_editvc_is_left_alone(repo: Repository) -> None:
    repo.index.connection.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(IndexTooNew, match=f"format {VERSION + 1}"):
        Index(repo.index.path)


def test_a_locked_index_is_busy_not_damaged(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editvc.vcs.index_file.BUSY_SECONDS", 0.05)
    other = Index(repo.index.path)
    with repo.index.transaction(), pytest.raises(IndexBusy) as caught:
        other.remember("a", ObjectId("b"))
    assert caught.value.exit_code == 1
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_readers_are_not_disturbed_by_a_writer(repo: Repository) -> None:
    commit_facts(repo, fact(1))
    other = Index(repo.index.path)
    with repo.index.transaction():
        repo.index.add_located([("a", ObjectId("b"))])
        assert other.located("a") is None
        assert len(other.commits()) == 1
    assert other.located("a") == "b"
