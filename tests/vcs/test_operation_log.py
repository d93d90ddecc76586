"""Each transaction that changes refs writes one operation, which says where all of them are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import commit_facts, fact, move

from editvc.core.ids import ObjectId
from editvc.vcs import codec
from editvc.vcs.fsck import fsck
from editvc.vcs.operation import Operation, View
from editvc.vcs.operation_log import RefsAltered
from editvc.vcs.refs import BranchMoved, ReflogEntry
from editvc.vcs.repository import Repository

FIXTURES = Path(__file__).parent / "fixtures"
WHO = {"author": "Ada <ada@example.org>", "time": 5}


def altered(folder: Path, *statements: str) -> None:
    """Change rows of the index behind editvc's back."""
    with closing(sqlite3.connect(folder / "index.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def chain(repo: Repository) -> list[Operation]:
    """The operations, newest first."""
    current = repo.operations.current()
    assert current is not None
    return [operation for _, operation in repo.operations.ancestors(current)]


def stored(repo: Repository) -> set[ObjectId]:
    return {one for one in repo.store.ids() if codec.kind_of(repo.store.get(one)) == "operation"}


def test_init_is_the_first_operation(repo: Repository) -> None:
    (first,) = chain(repo)
    assert first == Operation(1, (), View("ref: refs/heads/main"))
    assert (first.message, first.author, first.time) == ("init", "", 0)


def test_every_change_of_refs_is_an_operation(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    repo.refs.create_branch("side", first, **WHO)
    repo.refs.switch("side", **WHO)
    second = commit_facts(repo, fact(2))
    repo.refs.detach(first, **WHO)
    repo.refs.delete_branch("side", **WHO)
    operations = chain(repo)
    assert [one.message for one in operations] == [
        "branch: deleted", f"switch: to {first[:10]}", "commit: Commit 2", "switch: to side",
        f"branch: created at {first[:10]}", "commit: Commit 1", "init",
    ]  # fmt: skip
    assert [one.number for one in operations] == [7, 6, 5, 4, 3, 2, 1]
    assert operations[0].view == View(first, (("refs/heads/main", first),))
    assert operations[2].view == View(
        "ref: refs/heads/side", (("refs/heads/main", first), ("refs/heads/side", second))
    )
    lines = [line for one in reversed(operations) for line in one.moves]
    assert tuple(lines) == repo.operations.moves()
    assert operations[2].author == "Ada <ada@example.org>" and operations[2].time == 1_700_000_001
    assert fsck(repo).errors == () and fsck(repo).garbage == ()


def test_what_changes_no_ref_is_none(repo: Repository) -> None:
    commit_facts(repo, fact(1))
    before = repo.operations.current()
    repo.index.remember("a", ObjectId("b" * 64))
    repo.set_config("user.author", "Ada")
    assert repo.operations.current() == before


def test_a_lost_race_leaves_no_operation(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    commit_facts(repo, fact(2))
    before = stored(repo)
    with pytest.raises(BranchMoved):
        move(repo, "refs/heads/main", first, None)
    assert stored(repo) == before and len(chain(repo)) == 3


def test_moves_of_one_transaction_are_one_operation(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    with repo.index.transaction():
        for name in ("one", "two"):
            ref = f"refs/tags/{name}"
            repo.refs.move(ReflogEntry(ref, None, first, "Ada <>", 5, f"tag: {name}"))
    assert [len(one.moves) for one in chain(repo)] == [2, 2, 0]
    assert fsck(repo).errors == ()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM refs WHERE name = 'refs/heads/side'",
        "UPDATE refs SET target = 'ref: refs/heads/side' WHERE name = 'HEAD'",
        "UPDATE refs SET name = 'refs/heads/sidf' WHERE name = 'refs/heads/side'",
    ],
)
def test_nothing_is_written_over_altered_refs(repo: Repository, statement: str) -> None:
    first = commit_facts(repo, fact(1))
    repo.refs.create_branch("side", first, **WHO)
    altered(repo.folder, statement)
    before = repo.operations.current()
    with pytest.raises(RefsAltered) as caught:
        repo.refs.create_branch("new", first, **WHO)
    assert caught.value.exit_code == 3 and "fsck --repair" in caught.value.hint
    assert repo.operations.current() == before and "new" not in repo.refs.branches()


def test_a_repository_older_than_operations(tmp_path: Path) -> None:
    """It is read as it is; its first write says where it stood before, and then what it did."""
    shutil.unpack_archive(FIXTURES / "format-1.zip", tmp_path)
    with closing(Repository.find(tmp_path)) as repo:
        assert repo.operations.current() is None and stored(repo) == set()
        assert fsck(repo).errors == ()
        view, lines = repo.operations.view(), repo.operations.moves()
        commit_facts(repo, fact(9))
        new, old = chain(repo)
        assert old == Operation(1, (), view, lines) and len(lines) == 14
        assert new.message.startswith("commit: ") and new.number == 2
        assert fsck(repo).errors == ()
