"""A repository is copied as files, both copies are worked on, and the files are put together again.

In whatever order that is done, and whichever index is kept or lost: the next command works, and
``fsck`` tells of every commit that was acknowledged, with what brings it back.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from vcs_values import commit_facts, create, fact, move, quick_folder

from editvc.core.ids import ObjectId
from editvc.porcelain.undo import NothingToUndo, preview_undo, undo
from editvc.session.session import Session
from editvc.vcs.fsck import Report, fsck
from editvc.vcs.recovery import reindex
from editvc.vcs.refs import BRANCHES
from editvc.vcs.repository import Repository

WHO = {"author": "Ada <ada@example.org>", "time": 5}


def work_on(folder: Path, rng: Random, commands: int) -> set[ObjectId]:
    """Carry out commands drawn at random; the commits that were acknowledged."""
    made = set()
    with closing(Repository(folder)) as repo:
        for _ in range(commands):
            command = rng.choice((commit, commit, branch, switch, delete, reset, tag, taken_back))
            if (new := command(repo, rng)) is not None:
                made.add(new)
    return made


def commit(repo: Repository, rng: Random) -> ObjectId | None:
    return commit_facts(repo, fact(rng.randrange(10**6)), time=rng.randrange(10**9, 2 * 10**9))


def branch(repo: Repository, rng: Random) -> None:
    repo.refs.create_branch(f"b{rng.randrange(10**6)}", repo.refs.head().commit, **WHO)


def tag(repo: Repository, rng: Random) -> None:
    repo.refs.create_tag(f"t{rng.randrange(10**6)}", repo.refs.head().commit, **WHO)


def switch(repo: Repository, rng: Random) -> None:
    repo.refs.switch(rng.choice(sorted(repo.refs.branches())), **WHO)


def delete(repo: Repository, rng: Random) -> None:
    others = sorted({*repo.refs.branches()} - {repo.refs.head().branch})
    if others:
        repo.refs.delete_branch(rng.choice(others), **WHO)


def reset(repo: Repository, rng: Random) -> None:
    head = repo.refs.head()
    line = [row.id for row in repo.graph.first_parents(head.commit)]
    move(repo, head.ref, head.commit, rng.choice(line))


def taken_back(repo: Repository, rng: Random) -> None:
    session = Session(repo, clock=lambda: 5)
    try:
        goal = preview_undo(session).target
    except NothingToUndo:
        return
    if repo.operations.read(goal).view.refs:  # there shall be a branch to work on
        undo(session, str(WHO["author"]))


def put_together(one: Path, other: Path, to: Path) -> None:
    """The files of both; where both have one, that of the other."""
    shutil.copytree(one, to)
    shutil.copytree(other, to, dirs_exist_ok=True)


def named(repo: Repository, report: Report) -> set[ObjectId]:
    """Every commit that a ref leads to, or that ``fsck`` lists, with those before them."""
    waiting = [*repo.refs.all().values(), *(one.commit for one in report.dangling)]
    seen = set[ObjectId]()
    while waiting:
        identifier = waiting.pop()
        if identifier not in seen:
            seen.add(identifier)
            waiting.extend(repo.read_commit(identifier).parents)
    return seen


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("lost", [False, True], ids=["an index is kept", "the index is lost"])
def test_nothing_acknowledged_is_out_of_reach(seed: int, lost: bool) -> None:
    rng = Random(f"{seed} {lost}")
    with quick_folder() as place:
        with closing(create(place / "home")) as repo:
            made, home = {commit_facts(repo, fact(0))}, repo.folder
        for round_ in range(2):
            copies = [place / f"{round_}-{number}" for number in range(2)]
            for copy in copies:
                shutil.copytree(home, copy)
                made |= work_on(copy, rng, rng.randrange(1, 7))
            rng.shuffle(copies)
            home = place / f"{round_}-together"
            put_together(*copies, home)
            if lost:
                (home / "index.db").unlink()
            made |= bring_back(home, made)


def bring_back(home: Path, made: set[ObjectId]) -> set[ObjectId]:
    """Do what ``fsck`` says; what is committed on top is returned."""
    with closing(Repository(home)) as repo:
        report = fsck(repo)
        assert report.errors == ()
        assert named(repo, report) >= made
    reindex(home)
    with closing(Repository(home)) as repo:
        for one in report.dangling:
            name = f"back-{one.commit[:12]}"
            if repo.refs.get(BRANCHES + name) is None:
                repo.refs.create_branch(name, one.commit, **WHO)
        report = fsck(repo)
        assert report.errors == () and report.dangling == ()
        return {commit_facts(repo, fact(1))}


def test_who_forgets_a_copy_is_found_out(tmp_path: Path) -> None:
    with closing(create(tmp_path)) as repo:
        made = {commit_facts(repo, fact(0)), commit_facts(repo, fact(1))}
        assert named(repo, fsck(repo)) == made
        assert not named(repo, fsck(repo)) >= {*made, ObjectId("0" * 64)}
