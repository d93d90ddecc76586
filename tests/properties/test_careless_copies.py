"""Copies of a repository that both went on, and came together file by file: nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vcs_values import commit_facts, create, fact, quick_folder

from editvc.core.ids import ObjectId
from editvc.porcelain.branch import create as create_branch
from editvc.porcelain.reindex import repair
from editvc.session.session import Session
from editvc.vcs.fsck import fsck
from editvc.vcs.recovery import reindex
from editvc.vcs.repository import Repository


@pytest.fixture(scope="module")
def origin() -> Iterator[Path]:
    with quick_folder() as work:
        repo = create(work)
        commit_facts(repo, fact(1))
        repo.close()
        yield repo.folder


def work_in(folder: Path, count: int, first: int) -> list[ObjectId]:
    """Commits that were acknowledged, on a branch of their own from the second one on."""
    made = []
    with closing(Repository(folder)) as repo:
        for number in range(first, first + count):
            made.append(commit_facts(repo, fact(number), time=1_800_000_000 + number))
    return made


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def reached(repo: Repository) -> set[ObjectId]:
    return set(repo.graph.reachable(repo.refs.all().values()))


def bring_back(folder: Path) -> set[ObjectId]:
    """Do what fsck says, until it says no more; what refs reach then."""
    repair(folder.parent)
    with closing(Repository(folder)) as repo:
        report = fsck(repo)
        assert report.clean
    if any(not commit.indexed for commit in report.dangling):
        reindex(folder)
    with closing(Repository(folder)) as repo:
        session = Session(repo, clock=lambda: 1_900_000_000)
        for number, commit in enumerate(fsck(repo).dangling):
            create_branch(session, f"found-{number}", commit.commit[:10])
        report = fsck(repo)
        assert report.clean and report.dangling == ()
        return reached(repo)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(
    left=st.integers(0, 3),
    right=st.integers(1, 3),
    order=st.randoms(use_true_random=False),
    lost=st.sampled_from(["nothing", "index", "both"]),
)
def test_every_acknowledged_commit_can_be_reached(
    origin: Path, left: int, right: int, order: object, lost: str
) -> None:
    with quick_folder() as work:
        one, other = work / "one" / ".editvc", work / "other" / ".editvc"
        for folder in (one, other):
            shutil.copytree(origin, folder)
        acknowledged = {*work_in(one, left, 10), *work_in(other, right, 20)}
        listed = files(other)
        order.shuffle(listed)  # type: ignore[attr-defined]
        for path in listed:
            if lost == "index" and path.name == "index.db":
                continue
            if order.random() < 0.5 and (one / path).exists():  # type: ignore[attr-defined]
                continue  # whichever of two files is kept
            (one / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(other / path, one / path)
        if lost == "both":
            (one / "index.db").unlink()
        assert bring_back(one) >= acknowledged


def test_what_fsck_says_of_it(origin: Path) -> None:
    with quick_folder() as work:
        one, other = work / "one" / ".editvc", work / "other" / ".editvc"
        for folder in (one, other):
            shutil.copytree(origin, folder)
        work_in(one, 1, 10)
        tip = work_in(other, 2, 20)[-1]
        shutil.copytree(other / "objects", one / "objects", dirs_exist_ok=True)
        with closing(Repository(one)) as repo:
            report = fsck(repo)
            assert report.clean and report.garbage == ()
            (commit,), (line,) = report.dangling, report.lines
            assert (commit.commit, commit.number, commit.message) == (tip, 3, "Commit 3")
            assert not commit.indexed and line.number == 4


def test_the_longest_line_of_operations_is_taken(origin: Path) -> None:
    with quick_folder() as work:
        one, other = work / "one" / ".editvc", work / "other" / ".editvc"
        for folder in (one, other):
            shutil.copytree(origin, folder)
        work_in(one, 1, 10)
        tip = work_in(other, 2, 20)[-1]
        shutil.copytree(other / "objects", one / "objects", dirs_exist_ok=True)
        with closing(Repository(one)) as repo:
            mine = repo.refs.head().commit
        reindex(one)
        with closing(Repository(one)) as repo:
            assert repo.refs.head().commit == mine, "an index that knows its line stays on it"
        (one / "index.db").unlink()
        with closing(Repository(one)) as repo:
            assert repo.refs.head().commit == tip
            assert [commit.commit for commit in fsck(repo).dangling] == [mine]
