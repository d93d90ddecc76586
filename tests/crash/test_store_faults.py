"""The store stopped before its n-th step, for every n: old or new, and never in between."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import BASE, commit_facts, copy_repository, create, fact, quick_folder

from editvc.core.facts import Fact
from editvc.core.ids import ObjectId
from editvc.porcelain.undo import undo
from editvc.session.session import Session
from editvc.vcs.fsck import fsck
from editvc.vcs.index_rebuild import rebuild
from editvc.vcs.refs import Head
from editvc.vcs.repository import Repository

WHO = {"author": "Ada <ada@example.org>", "time": 5}
NEW = (fact(101), fact(102, "blue"))


class Stopped(Exception):
    """The process is as good as dead: no step is taken any more."""


class StopBefore:
    """A fault hook that lets ``steps`` steps pass and none after them, in whatever thread."""

    def __init__(self, steps: float) -> None:
        self.left = steps
        self.taken: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, step: str) -> None:
        with self.lock:
            if self.left <= 0:
                raise Stopped(step)
            self.left -= 1
            self.taken.append(step)


@pytest.fixture
def work() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def before() -> Iterator[Path]:
    """A repository with a branch, a commit of 40 facts and one of a single fact."""
    with quick_folder() as folder:
        repo = create(folder)
        first = commit_facts(repo, *(fact(number) for number in range(40)))
        commit_facts(repo, fact(50))
        repo.refs.create_branch("side", first, **WHO)
        repo.close()
        yield repo.folder


def live(repo: Repository) -> set[Fact]:
    tree = repo.tree_of(repo.refs.head().commit)
    return {repo.read_fact(entry.fact) for entry in repo.edits_of(tree).entries()}


def without_index(repo: Repository, state: Callable[[Repository], object]) -> object:
    """The state of a copy that has lost its index: the next command builds it anew."""
    copy = repo.folder.parent / "copy" / ".editvc"
    copy_repository(repo.folder, copy, index=False)
    with closing(Repository(copy)) as again:
        assert fsck(again).errors == ()
        seen = state(again)
    shutil.rmtree(copy.parent)
    return seen


def every_stop(
    before: Path,
    work: Path,
    act: Callable[[Repository], object],
    state: Callable[[Repository], object],
) -> list[str]:
    """Run ``act`` stopped at each step in turn; the state is the old or, at the end, the new.

    Returns the steps of the run that was not stopped.
    """
    with closing(Repository(before)) as repo:
        old = state(repo)
    copy = work / "whole" / ".editvc"
    copy_repository(before, copy)
    counting = StopBefore(float("inf"))
    with closing(Repository(copy, counting)) as repo:
        act(repo)
        new = state(repo)
    assert new != old
    seen = []
    for steps in range(len(counting.taken) + 1):
        folder = work / str(steps) / ".editvc"
        copy_repository(before, folder)
        stopping = Repository(folder, StopBefore(steps))
        acknowledged = steps == len(counting.taken)
        if acknowledged:
            act(stopping)
        else:
            with pytest.raises(Stopped):
                act(stopping)
        stopping.close()
        after = Repository(folder)
        report = fsck(after)
        assert report.errors == (), f"after {steps} steps"
        seen.append(state(after))
        assert seen[-1] in (old, new)
        lost = without_index(after, state)
        assert lost in (old, new) and (lost == new or seen[-1] == old), f"after {steps} steps"
        if seen[-1] == old:
            act(after)
        assert state(after) == new, "the same command works afterwards"
        if steps % 5 == 0:
            assert without_index(after, state) == new, "what was acknowledged outlives the index"
        after.close()
        shutil.rmtree(folder.parent)
    changed = seen.index(new)
    assert seen == [old] * changed + [new] * (len(seen) - changed)
    return counting.taken


def test_a_commit_stopped_anywhere(before: Path, work: Path) -> None:
    def state(repo: Repository) -> object:
        lines = repo.refs.reflog("HEAD"), repo.refs.reflog("refs/heads/main")
        head, facts = repo.refs.head(), live(repo)
        rows = [repo.index.fact(one.id) for one in sorted(facts, key=lambda one: one.id)]
        return head, rows, lines, repo.graph.log([head.commit] if head.commit else [])

    steps = every_stop(before, work, lambda repo: commit_facts(repo, *NEW), state)
    assert steps.count("rename") >= 8
    assert steps[-8:] == [
        "begin", "create", "write", "fsync", "rename", "fsync-folder", "commit", "committed",
    ], "the operation is written when all else of the transaction is"  # fmt: skip


def test_moving_refs_stopped_anywhere(before: Path, work: Path) -> None:
    def state(repo: Repository) -> object:
        return repo.refs.head(), repo.refs.branches(), repo.refs.reflog("HEAD")

    def restart(name: str) -> Path:
        path = work / name
        path.mkdir()
        return path

    with closing(Repository(before)) as repo:
        main = repo.refs.head().commit
    assert main is not None
    clock = {"clock": lambda: 5}
    for name, act in {
        "undo": lambda repo: undo(Session(repo, **clock), "Ada <>"),
        "create": lambda repo: repo.refs.create_branch("new", main, **WHO),
        "delete": lambda repo: repo.refs.delete_branch("side", **WHO),
        "switch": lambda repo: repo.refs.switch("side", **WHO),
        "detach": lambda repo: repo.refs.detach(main, **WHO),
    }.items():
        every_stop(before, restart(name), act, state)


def test_setting_a_key_stopped_anywhere(before: Path, work: Path) -> None:
    every_stop(
        before,
        work,
        lambda repo: repo.config_file.set_value("user.author", "Ada"),
        lambda repo: repo.config_file.text(),
    )


def test_a_new_repository_is_whole_or_not_there(work: Path) -> None:
    (work / "whole").mkdir()
    counting = StopBefore(float("inf"))
    create(work / "whole", counting).close()
    folders = [n for n, step in enumerate(counting.taken) if step == "make-folder"]
    dull = set(folders[5:-5])  # one of 256 like folders is as good as another
    for steps in sorted(set(range(len(counting.taken))) - dull):
        here = work / str(steps)
        here.mkdir()
        with pytest.raises(Stopped):
            create(here, StopBefore(steps))
        if (here / ".editvc").exists():
            assert steps == len(counting.taken) - 1, "only after the last rename"
        else:
            create(here).close()
        repo = Repository.find(here)
        assert repo.refs.head() == Head("main", None) and repo.read_base() == BASE
        assert fsck(repo).clean
        repo.close()
        shutil.rmtree(here)


def test_an_index_built_anew_stopped_anywhere(before: Path, work: Path) -> None:
    damaged = work / ".editvc"
    shutil.copytree(before, damaged)
    repo = Repository(damaged)
    with repo.index.transaction():
        repo.index.write("DELETE FROM facts", [()])
    repo.close()
    (work / "runs").mkdir()

    def state(repo: Repository) -> object:
        return repo.index.commits(), repo.index.facts(), repo.index.all_located()

    every_stop(damaged, work / "runs", lambda repo: rebuild(repo.index, repo.store), state)


def test_a_lost_index_built_anew_stopped_anywhere(before: Path, work: Path) -> None:
    with closing(Repository(before)) as repo:
        expected = repo.operations.view(), repo.operations.moves(), repo.index.commits()
    counting = StopBefore(float("inf"))
    for steps in range(1000):
        folder = work / str(steps) / ".editvc"
        shutil.copytree(before, folder)
        with (folder / "index.db").open("r+b") as file:
            file.truncate(9000)
        hook = StopBefore(steps) if steps else counting
        try:
            Repository(folder, hook).close()
        except Stopped:
            assert steps > 0
        else:
            if steps > len(counting.taken):
                break
        with closing(Repository(folder)) as repo:
            assert (repo.operations.view(), repo.operations.moves(), repo.index.commits()) == (
                expected
            )
            assert fsck(repo).errors == ()
        shutil.rmtree(folder.parent)
    moves = ["rename", "fsync-folder"]  # the old one aside, the new one in its place
    assert counting.taken == ["begin", "commit", "committed", *moves, *moves]


def test_objects_acknowledged_before_a_stop_stay(before: Path, work: Path) -> None:
    shutil.copytree(before, work / ".editvc")
    hook = StopBefore(33)
    repo = Repository(work / ".editvc", hook)
    acknowledged: list[ObjectId] = []
    with pytest.raises(Stopped):
        for number in range(100):
            acknowledged.append(repo.store.put(f"object {number}".encode()))
    assert len(acknowledged) == 6
    for number, identifier in enumerate(acknowledged):
        assert Repository(repo.folder).store.get(identifier) == f"object {number}".encode()
