"""``reset`` and ``restore``: the branch at another commit, and one fact as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_repos import FACTS, OTHERS, contents, tree

from editvc import Repo
from editvc.porcelain.restore import UnknownFact
from editvc.session.recording import NothingToDo
from editvc.vcs.revisions import RevisionError


@pytest.fixture
def line(repo: Repo) -> Repo:
    """Four commits: two facts, London in Rome's place, Italy out, one more."""
    repo.commit(FACTS[:2])
    repo.commit(OTHERS[:1], supersede=True)
    repo.revert(FACTS[1].id)
    repo.commit(FACTS[2:3])
    return repo


def live(repo: Repo) -> set[str]:
    return {fact.id for fact in repo.live()}


def test_reset_moves_the_branch_and_tells_what_is_left_and_how_to_return(
    line: Repo, work: Path
) -> None:
    ids = [row.id for row in line.log()]
    line.create_tag("kept", "3")
    before = contents(work)
    planned = line.preview_reset("2")
    assert contents(work) == before
    done = line.reset("2")
    assert done == planned
    assert [row.id for row in done.left] == ids[:1], "the tag reaches the third"
    assert (done.old, done.new) == (ids[0], ids[2])
    assert live(line) == {OTHERS[0].id, FACTS[1].id}
    newest = line.session.repository.refs.newest("refs/heads/main")
    assert newest is not None and newest.message == "reset: to 2"
    line.reset(done.left[0].id[:10])
    assert [row.id for row in line.log()] == ids
    line.reset("HEAD~1")
    assert line.reset("@{1}").left == (), "the reflog has it, too"
    assert line.fsck().clean


def test_reset_to_where_the_branch_is_and_to_nothing(line: Repo, work: Path) -> None:
    before = contents(work)
    assert line.reset("HEAD").left == ()
    with pytest.raises(RevisionError, match="base model"):
        line.reset("base")
    assert contents(work) == before


def test_restore_undoes_the_last_change_of_a_fact(line: Repo) -> None:
    assert line.preview_restore(FACTS[0].id[:8]).changed == ((OTHERS[0], FACTS[0]),)
    done = line.restore(FACTS[0].id[:8])
    assert done.commit.message.startswith("Restore 'The capital of France is' from ")
    assert live(line) == {FACTS[0].id, FACTS[2].id}
    line.restore(FACTS[1].id)
    assert live(line) == {fact.id for fact in FACTS[:3]}
    line.restore(FACTS[2].id, message="Out")
    assert live(line) == {fact.id for fact in FACTS[:2]} and tree(line) == tree(line, "1")
    assert line.fsck().clean


def test_restore_from_a_revision(line: Repo) -> None:
    line.create_tag("v1", "1")
    done = line.restore(OTHERS[0].id, "v1")
    assert done.commit.message == "Restore 'The capital of France is' from v1"
    assert live(line) == {FACTS[0].id, FACTS[2].id}
    line.restore(FACTS[0].id, "base")
    assert live(line) == {FACTS[2].id}


def test_what_cannot_be_restored(line: Repo, work: Path) -> None:
    before = contents(work)
    for act in (line.restore, line.preview_restore):
        with pytest.raises(NothingToDo, match="HEAD has there what 4 has"):
            act(FACTS[0].id, "4")
        with pytest.raises(NothingToDo, match="no commit of this branch"):
            act(FACTS[5].id)
        for text in ("", "abc", "zzzz", "0" * 64):
            with pytest.raises(UnknownFact, match="no fact"):
                act(text)
    assert contents(work) == before
