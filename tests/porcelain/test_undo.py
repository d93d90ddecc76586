"""``undo`` and ``redo`` walk along the commands that moved refs, as an editor's do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vcs_values import commit_facts, create, fact, quick_folder

from editvc.porcelain.branch import create as create_branch
from editvc.porcelain.branch import delete
from editvc.porcelain.reflog import reflog
from editvc.porcelain.switch import detach, switch
from editvc.porcelain.undo import (
    NothingToUndo,
    OperationMoved,
    preview_redo,
    preview_undo,
    redo,
    undo,
)
from editvc.session.session import Session
from editvc.vcs.fsck import fsck
from editvc.vcs.operation import View
from editvc.vcs.refs import BranchUnknown
from editvc.vcs.repository import Repository

ADA = "Ada <ada@example.org>"


@pytest.fixture
def session() -> Iterator[Session]:
    with quick_folder() as folder, closing(create(folder)) as repo:
        yield Session(repo, clock=lambda: 1_800_000_000)


def view(session: Session) -> View:
    return session.repository.operations.view()


def test_a_commit_is_undone_and_done_again(session: Session) -> None:
    repo = session.repository
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(2))
    done = undo(session, ADA)
    assert done.command.message == "commit: Commit 2"
    assert [(move.name, move.old, move.new) for move in done.moves] == [
        ("refs/heads/main", second, first)
    ]
    assert repo.refs.head().commit == first and repo.store.contains(second)
    line = repo.refs.reflog("HEAD")[0]
    assert (line.old, line.new, line.author, line.time, line.message) == (
        second, first, ADA, 1_800_000_000, "undo: commit: Commit 2",
    )  # fmt: skip
    assert redo(session, ADA).to_json()["redo"] == "commit: Commit 2"
    assert repo.refs.head().commit == second
    assert repo.refs.reflog("HEAD")[0].message == "redo: commit: Commit 2"
    assert fsck(repo).errors == ()


def test_the_first_commit_can_be_undone_and_nothing_before_it(session: Session) -> None:
    first = commit_facts(session.repository, fact(1))
    undo(session, ADA)
    assert session.repository.refs.found_head().commit is None
    before = session.repository.operations.current()
    with pytest.raises(NothingToUndo, match="no command to undo") as caught:
        undo(session, ADA)
    assert caught.value.hint and session.repository.operations.current() == before
    redo(session, ADA)
    assert session.repository.refs.head().commit == first
    with pytest.raises(NothingToUndo, match="no command to redo"):
        redo(session, ADA)
    assert fsck(session.repository).errors == ()


def test_a_dry_run_writes_nothing(session: Session) -> None:
    commit_facts(session.repository, fact(1))
    before = session.repository.operations.current()
    plan = preview_undo(session)
    assert plan.command.message == "commit: Commit 1"
    assert session.repository.operations.current() == before
    undo(session, ADA)
    assert preview_redo(session).command.message == "commit: Commit 1"


def test_a_deleted_branch_comes_back(session: Session) -> None:
    first = commit_facts(session.repository, fact(1))
    create_branch(session, "side", "HEAD")
    delete(session, "side")
    undo(session, ADA)
    assert session.repository.refs.branches() == {"main": first, "side": first}


def test_a_new_command_ends_what_can_be_redone(session: Session) -> None:
    repo = session.repository
    commit_facts(repo, fact(1))
    commit_facts(repo, fact(2))
    undo(session, ADA)
    commit_facts(repo, fact(3))
    with pytest.raises(NothingToUndo):
        redo(session, ADA)
    assert undo(session, ADA).command.message == "commit: Commit 2"
    assert undo(session, ADA).command.message == "commit: Commit 1", "what was undone is gone"


def test_commands_that_change_nothing_are_passed_over(session: Session) -> None:
    commit_facts(session.repository, fact(1))
    switch(session, "main")
    assert undo(session, ADA).command.message == "commit: Commit 1"
    assert redo(session, ADA).command.message == "commit: Commit 1"


def test_another_process_is_not_undone_instead(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = session.repository
    commit_facts(repo, fact(1))
    restoring = repo.operations.restoring

    def late(identifier: object) -> object:
        with closing(Repository(repo.folder)) as other:
            commit_facts(other, fact(2))
        return restoring(identifier)  # type: ignore[arg-type]

    monkeypatch.setattr(repo.operations, "restoring", late)
    with pytest.raises(OperationMoved) as caught:
        undo(session, ADA)
    assert caught.value.exit_code == 5
    monkeypatch.undo()
    assert len(repo.refs.reflog("HEAD")) == 2
    assert undo(session, ADA).command.message == "commit: Commit 2"


def act(session: Session, verb: str, number: int) -> None:
    repo = session.repository
    branches = sorted(repo.refs.branches())
    if verb == "commit" or not branches:
        commit_facts(repo, fact(number))
    elif verb == "branch":
        create_branch(session, f"b{number}", "HEAD")
    elif verb == "switch":
        switch(session, branches[number % len(branches)])
    elif verb == "detach":
        detach(session, "HEAD")
    elif len(branches) > 1 and repo.refs.head().branch != branches[-1]:
        delete(session, branches[-1])


VERBS = ("commit", "branch", "switch", "detach", "delete")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(verbs=st.lists(st.sampled_from((*VERBS, "undo", "redo", "undo")), max_size=14))
def test_any_walk_is_that_of_an_editor(tmp_path_factory: object, verbs: list[str]) -> None:
    """Against the obvious model: a list of states, and a place in it."""
    with quick_folder() as folder, closing(create(folder)) as repo:
        session = Session(repo, clock=lambda: 1_800_000_000)
        states, place = [view(session)], 0
        for number, verb in enumerate(verbs):
            if verb not in ("undo", "redo"):
                act(session, verb, number)
                if view(session) != states[place]:
                    states[place + 1 :] = [view(session)]
                    place += 1
                elif repo.operations.read(repo.operations.current() or "").restores is None:  # type: ignore[arg-type]
                    del states[place + 1 :]  # a `switch` to where HEAD is, say
            elif verb == "undo" and place > 0:
                undo(session, ADA)
                place -= 1
            elif verb == "redo" and place < len(states) - 1:
                redo(session, ADA)
                place += 1
            else:
                with pytest.raises(NothingToUndo):
                    (undo if verb == "undo" else redo)(session, ADA)
            assert view(session) == states[place], (number, verb)
        assert fsck(repo).errors == ()
        before = repo.operations.view(), repo.index.rows("SELECT * FROM reflog")
        repo.close()
        (repo.folder / "index.db").unlink()
        with closing(Repository(repo.folder)) as again:
            assert before == (again.operations.view(), again.index.rows("SELECT * FROM reflog"))


def test_the_reflog_of_a_branch(session: Session) -> None:
    first = commit_facts(session.repository, fact(1))
    create_branch(session, "side", "HEAD")
    commit_facts(session.repository, fact(2))
    assert [line.message for line in reflog(session)] == ["commit: Commit 2", "commit: Commit 1"]
    (line,) = reflog(session, "side")
    assert (line.old, line.new) == (None, first)
    assert reflog(session, "refs/heads/side") == [line]
    delete(session, "side")
    assert [one.new for one in reflog(session, "side")] == [None, first]
    with pytest.raises(BranchUnknown, match="no branch 'sdie'"):
        reflog(session, "sdie")


def test_the_reflog_of_an_unborn_branch_is_empty(session: Session) -> None:
    assert reflog(session) == reflog(session, "main") == []


def test_an_old_repository_has_nothing_to_undo(tmp_path: Path) -> None:
    import shutil

    fixtures = Path(__file__).resolve().parent.parent / "vcs" / "fixtures"
    shutil.unpack_archive(fixtures / "format-1.zip", tmp_path)
    with closing(Repository.find(tmp_path)) as repo:
        session = Session(repo, clock=lambda: 1_800_000_000)
        with pytest.raises(NothingToUndo):
            undo(session, ADA)
        before = view(session)
        commit_facts(repo, fact(9))
        undo(session, ADA)
        assert view(session) == before, "its first command since then"
