"""``cherry-pick`` and ``rebase``: what commits changed, once more; the branch moves once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_repos import ADA, FACTS, OTHERS, tree

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.session.recording import NothingToDo
from editvc.session.unfinished import NothingWaits
from editvc.vcs.revisions import RevisionError

BO = "Bo <bo@example.org>"
SOURCED = replace(OTHERS[0], source="Atlas")


def head(repo: Repo, revision: str = "HEAD") -> str:
    return repo.session.repository.revisions.commit(revision)


def live(repo: Repo, revision: str = "HEAD") -> set[str]:
    return {fact.id for fact in repo.live(revision)}


def ids(*facts: Fact) -> set[str]:
    return {fact.id for fact in facts}


@pytest.fixture
def forked(repo: Repo) -> Repo:
    """Three commits of Bo's on ``side``, which is HEAD's; one of Ada's on main."""
    repo.commit(FACTS[:2], message="Start")
    repo.create_branch("side")
    repo.commit(FACTS[2:3], message="On main")
    repo.switch("side")
    repo.commit(FACTS[3:4], message="Third", author=BO)
    repo.commit(OTHERS[:1], message="London", author=BO, supersede=True)
    repo.revert(FACTS[1].id, message="No Italy", author=BO)
    return repo


# cherry-pick ----------------------------------------------------------------------------------


def test_what_a_commit_changed_is_committed_once_more(forked: Repo) -> None:
    forked.switch("main")
    before = head(forked)
    assert forked.preview_cherry_pick("side~1").changes.changed == ((FACTS[0], OTHERS[0]),)
    ((_, commit),) = forked.cherry_pick("side~1").made
    assert (commit.message, commit.author, commit.parents) == ("London", BO, (before,))
    assert live(forked) == ids(OTHERS[0], *FACTS[1:3])
    forked.cherry_pick("side")
    assert live(forked) == ids(OTHERS[0], FACTS[2]), "what it took out, too"
    assert forked.fsck().clean


def test_several_are_committed_together_in_their_order(forked: Repo) -> None:
    forked.switch("main")
    at = head(forked)
    planned = forked.preview_cherry_pick("main..side")
    done = forked.cherry_pick("main..side")
    assert planned.commits == len(done.made) == 3
    assert [commit.message for _, commit in done.made] == ["Third", "London", "No Italy"]
    assert live(forked) == ids(OTHERS[0], *FACTS[2:4])
    lines = forked.session.repository.refs.reflog("refs/heads/main")
    assert (lines[0].old, lines[0].message) == (at, "cherry-pick: main..side"), "one move"


def test_what_is_here_already_is_nothing_to_pick(forked: Repo) -> None:
    at = head(forked)
    for act in (forked.cherry_pick, forked.preview_cherry_pick):
        with pytest.raises(NothingToDo, match="is here already"):
            act("side~2")
        with pytest.raises(RevisionError):
            act("base")
    assert head(forked) == at


def test_a_conflict_in_the_middle_moves_nothing_until_it_is_decided(forked: Repo) -> None:
    forked.switch("main")
    forked.commit([SOURCED], message="London, too", supersede=True)
    at = head(forked)
    done = forked.cherry_pick("main..side")
    (conflict,) = done.conflicts
    told = [(one.says, one.commit and one.commit.message) for _, one in conflict.versions]
    assert told == [("Rome", "Start"), ("London", "London, too"), ("London", "London")]
    assert head(forked) == at and forked.fsck().clean
    forked.resolve(conflict.place, "theirs")
    done = forked.go_on("cherry-pick")
    assert [commit.message for _, commit in done.made] == ["Third", "London", "No Italy"]
    assert live(forked) == ids(OTHERS[0], *FACTS[2:4])
    assert forked.status().unfinished is None


def test_a_conflicting_commit_may_be_left_out(forked: Repo) -> None:
    forked.switch("main")
    forked.commit([SOURCED], supersede=True)
    forked.cherry_pick("main..side")
    done = forked.skip("cherry-pick")
    assert [commit.message for _, commit in done.made] == ["Third", "No Italy"]
    with pytest.raises(NothingWaits):
        forked.skip("cherry-pick")


# rebase ---------------------------------------------------------------------------------------


def test_a_branch_is_replayed_with_its_authors_messages_and_times(forked: Repo) -> None:
    old = forked.log("main..side")
    assert forked.preview_rebase("main").commits == 3
    done = forked.rebase("main")
    rows = forked.log()
    assert [row.message for row in rows] == ["No Italy", "London", "Third", "On main", "Start"]
    assert [(row.author, row.time) for row in rows[:3]] == [(row.author, row.time) for row in old]
    assert [row.number for row in rows] == [5, 4, 3, 2, 1] and len(done.made) == 3
    assert live(forked) == ids(OTHERS[0], *FACTS[2:4])
    assert head(forked, "side@{1}") == old[0].id, "the way back"
    whole = tree(forked)
    forked.create_branch("again", old[0].id)
    forked.switch("again")
    forked.merge("main")
    assert tree(forked) == whole, "a merge comes to the same set"
    assert not forked.rebase("main").moved and forked.fsck().clean
    assert forked.preview_rebase("main").commits == 0


def test_what_upstream_holds_already_is_left_out(forked: Repo) -> None:
    forked.switch("main")
    forked.cherry_pick("side~2")
    forked.switch("side")
    assert [commit.message for _, commit in forked.rebase("main").made] == ["London", "No Italy"]
    forked.create_branch("behind", "1")
    forked.switch("behind")
    done = forked.rebase("main")
    assert (done.made, done.tip) == ((), head(forked, "main")), "nothing of its own: fast-forward"


def test_a_rebase_stops_at_a_conflict_and_goes_on(forked: Repo) -> None:
    forked.switch("main")
    forked.revert(FACTS[0].id, message="No France")
    forked.switch("side")
    at = head(forked)
    planned = forked.preview_rebase("main")
    done = forked.rebase("main")
    assert planned.commits == 1 and planned.conflicts[0].place == done.conflicts[0].place
    (conflict,) = done.conflicts
    told = [(one.says, one.commit and one.commit.author) for _, one in conflict.versions]
    assert told == [("Rome", ADA), ("nothing", ADA), ("London", BO)]
    assert head(forked) == at
    forked.abort("rebase")
    assert head(forked) == at and forked.status().unfinished is None
    forked.rebase("main")
    forked.resolve(OTHERS[0].id[:6], "ours")
    done = forked.go_on("rebase")
    assert [commit.message for _, commit in done.made] == ["Third", "No Italy"]
    assert live(forked) == ids(*FACTS[2:4])
    assert not forked.rebase("main").moved


def test_a_conflict_with_a_commit_that_was_just_made_names_it(forked: Repo) -> None:
    """That commit is in no index yet: the branch has not moved."""
    forked.create_branch("third", "1")
    forked.switch("third")
    forked.commit([SOURCED], message="Sourced", supersede=True)
    forked.switch("main")
    (conflict,) = forked.cherry_pick("side~1", "third").conflicts
    assert [version.says for _, version in conflict.versions] == ["Rome", "London", "London"]
    assert conflict.ours.commit is not None and conflict.ours.commit.message == "London"
    assert conflict.ours.commit.id != head(forked, "side~1")


def test_merges_are_replayed_as_what_they_changed(forked: Repo) -> None:
    forked.create_branch("third", "1")
    forked.switch("third")
    forked.commit(FACTS[4:5], message="Third branch")
    forked.switch("side")
    forked.merge("third")
    forked.compact(Restraint(rank=2))
    forked.rebase("main")
    assert live(forked) == ids(OTHERS[0], *FACTS[2:5])
    assert forked.status().restraint == Restraint(rank=2)
    assert all(len(row.parents) < 2 for row in forked.log())


def test_squash_keeps_the_merges_behind_its_range(forked: Repo) -> None:
    forked.merge("main")
    before = live(forked)
    forked.squash("2..3")
    assert live(forked) == before
    assert forked.log()[0].parents[1:] == (head(forked, "main"),)
    assert not forked.merge("main").moved
