"""Commands that begin again where another process was faster, on the branch that they began on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_repos import FACTS, opened, tree

from editvc import Repo
from editvc.core.history import Restraint
from editvc.session import on_branch
from editvc.session.recording import NothingToDo
from editvc.vcs.refs import BranchLost, BranchMoved
from editvc.vcs.repository import Repository

Command = Callable[[Repo], object]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long commands wait; nobody does."""
    waited: list[float] = []
    monkeypatch.setattr(on_branch.time, "sleep", waited.append)
    return waited


def interrupted(
    monkeypatch: pytest.MonkeyPatch, other: Callable[[], object], times: int = 1
) -> None:
    """Let ``other`` happen just before each of the next ``times`` that a commit is recorded."""
    record, left = Repository.record, [times]

    def late(self: Repository, *args: object, **kwargs: object) -> object:
        if left[0]:
            left[0] -= 1
            monkeypatch.setattr(Repository, "record", record)
            other()
            monkeypatch.setattr(Repository, "record", late)
        return record(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Repository, "record", late)


COMMANDS: dict[str, Command] = {
    "commit": lambda repo: repo.commit(FACTS[2:3]),
    "revert": lambda repo: repo.revert("HEAD"),
    "compact": lambda repo: repo.compact(Restraint(rank=1)),
    "squash": lambda repo: repo.squash("1..2"),
    "merge": lambda repo: repo.merge("side"),
    "cherry-pick": lambda repo: repo.cherry_pick("side"),
    "rebase": lambda repo: repo.rebase("side"),
    "restore": lambda repo: repo.restore(FACTS[1].id),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_writing_command_begins_again(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch, name: str, waits: list[float]
) -> None:
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    repo.switch("side")
    repo.commit(FACTS[4:5])
    repo.switch("main")
    repo.commit(FACTS[1:2])
    second = opened(work)
    interrupted(monkeypatch, lambda: second.commit(FACTS[3:4]))
    COMMANDS[name](repo)
    assert len(waits) == 1
    live = {fact.id for fact in repo.live()}
    assert FACTS[3].id in live, "what the other process committed stays"
    if name == "revert":
        assert live == {FACTS[0].id, FACTS[3].id}, "HEAD is what it was at the beginning"
    if name == "squash":
        assert [row.number for row in repo.log()] == [2, 1]
    assert repo.fsck().clean


def test_the_branch_is_that_of_the_beginning(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    second = opened(work)

    def elsewhere() -> None:
        second.commit(FACTS[1:2])
        second.switch("side")

    interrupted(monkeypatch, elsewhere)
    repo.commit(FACTS[2:3])
    assert {fact.id for fact in repo.live("side")} == {FACTS[0].id}
    assert {fact.id for fact in repo.live("main")} == {fact.id for fact in FACTS[:3]}
    assert repo.status().branch == "side"
    assert repo.fsck().clean


def test_a_branch_that_is_deleted_meanwhile_is_not_made_again(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    second = opened(work)

    def away() -> None:
        second.switch("side")
        second.delete_branch("main")

    interrupted(monkeypatch, away)
    with pytest.raises(BranchMoved, match="to unborn"):
        repo.commit(FACTS[1:2])
    assert [one.name for one in repo.branches()] == ["side"]


def test_what_has_become_nothing_is_said(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(FACTS[:1])
    second = opened(work)
    interrupted(monkeypatch, lambda: second.revert("HEAD"))
    with pytest.raises(NothingToDo, match="any more"):
        repo.revert("HEAD")


def test_others_may_be_faster_each_time(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setattr(on_branch, "PATIENCE", 0.0)  # two commands in one process
    repo.commit(FACTS[:1])
    second, restraints = opened(work), [Restraint(rank=2), Restraint(rank=1)] * 20
    interrupted(monkeypatch, lambda: second.compact(restraints.pop()), times=99)
    with pytest.raises(BranchMoved) as caught:
        repo.commit(FACTS[1:2])
    assert caught.value.exit_code == 5
    assert len(waits) == on_branch.ATTEMPTS
    assert 2 * waits[0] < waits[5] <= 1.5 * on_branch.LONGEST_WAIT


def test_a_branch_that_is_lost_is_no_empty_repository(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    before = tree(repo)
    index = repo.session.repository.index
    index.connection.execute("DELETE FROM refs WHERE name = ?", ["refs/heads/main"])
    for look in (
        lambda: repo.status(),
        lambda: repo.log(),
        lambda: repo.commit(FACTS[1:2]),
        lambda: repo.revert("HEAD"),
    ):
        with pytest.raises(BranchLost, match="was at") as caught:
            look()
    assert any("no commit" in problem.what for problem in repo.fsck().errors)
    assert caught.value.hint.startswith("`editvc fsck --repair`")
    (_, done) = Repo.repair(repo.folder.parent)
    assert done.startswith("branch 'main' is put back from nowhere to ")
    assert tree(repo) == before and repo.fsck().clean


@pytest.mark.parametrize("column", ["target", "name"])
def test_a_ref_that_is_altered_is_seen(repo: Repo, column: str) -> None:
    first = repo.commit(FACTS[:1]).id
    repo.commit(FACTS[1:2])
    index = repo.session.repository.index
    name, target = (
        ("refs/heads/main", first) if column == "target" else ("HEAD", "ref: refs/heads/mAin")
    )
    index.connection.execute("UPDATE refs SET target = ? WHERE name = ?", [target, name])
    errors = repo.fsck().errors
    assert errors and {one.where for one in errors} <= {"HEAD", "branch 'main'"}
