"""``merge``: sets united, conflicts shown and decided, and the branch where it was until then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_repos import ADA, FACTS, OTHERS, Prepared, contents, opened, same_bits, tree

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId
from editvc.porcelain.combine import OtherBase, OtherStatistics, combined
from editvc.porcelain.merge import OctopusConflict
from editvc.porcelain.resolve import NoSuchConflict
from editvc.porcelain.sequencer import Undecided
from editvc.session.recording import NothingToDo
from editvc.session.unfinished import NothingWaits, Overtaken, Unfinished
from editvc.vcs.pending import PendingUnreadable
from editvc.vcs.revisions import RevisionError
from editvc.vcs.store import MemoryStore
from editvc.vcs.three_way import Base

BO = "Bo <bo@example.org>"
MADRID = replace(OTHERS[0], source="Atlas, page 3")


def head(repo: Repo, revision: str = "HEAD") -> str:
    return repo.session.repository.revisions.commit(revision)


def live(repo: Repo, revision: str = "HEAD") -> set[str]:
    return {fact.id for fact in repo.live(revision)}


def ids(facts: Sequence[Fact]) -> set[str]:
    return {fact.id for fact in facts}


@pytest.fixture
def forked(repo: Repo) -> Repo:
    """A fact on main; one more on ``side``, and one more on main."""
    repo.commit(FACTS[:1], message="Start")
    repo.create_branch("side")
    repo.switch("side")
    repo.commit(FACTS[1:2], message="On the side", author=BO)
    repo.switch("main")
    repo.commit(FACTS[2:3], message="On main")
    return repo


@pytest.fixture
def clashing(repo: Repo) -> Repo:
    """Both sides say something else of France; main took Italy out, side changed it."""
    repo.commit(FACTS[:2], message="Start")
    repo.create_branch("side")
    repo.switch("side")
    repo.commit([MADRID, OTHERS[1]], message="Of the side", author=BO, supersede=True)
    repo.switch("main")
    repo.revert("HEAD", message="Out again")
    third = replace(FACTS[0], source="Hearsay")
    repo.commit([third, FACTS[3]], message="Hearsay", supersede=True)
    return repo


# what is united -------------------------------------------------------------------------------


def test_a_merge_is_the_union_with_both_parents_and_the_weights_of_that_set(forked: Repo) -> None:
    ours, theirs = head(forked), head(forked, "side")
    before = forked.preview_merge("side")
    assert before.changes.added == (FACTS[1],) and before.commits == 1
    done = forked.merge("side")
    ((identifier, commit),) = done.made
    assert commit.parents == (ours, theirs) and identifier == done.tip == head(forked)
    assert commit.message == "Merge branch 'side' into main" and commit.author == ADA
    assert (commit.number, commit.edits, commit.live) == (3, 1, 3)
    assert live(forked) == ids(FACTS[:3])
    merged_tree, weights = tree(forked), forked.materialise()
    forked.create_branch("line", "1")
    forked.switch("line")
    forked.commit(FACTS[1:3])
    assert tree(forked) == merged_tree, "equal sets have equal ids, whatever the history"
    assert same_bits(forked.materialise(), weights)
    assert forked.fsck().clean


def test_either_way_round_the_tree_is_the_same(forked: Repo) -> None:
    forked.create_branch("old", "main")
    forked.merge("side", message="One way")
    forked.switch("side")
    assert forked.merge("old", author=BO).made[0][1].author == BO
    assert tree(forked, "main") == tree(forked, "side")


def test_an_ancestor_brings_nothing_and_a_descendant_is_moved_to(forked: Repo, work: Path) -> None:
    before = contents(work)
    assert not forked.merge("HEAD").moved and not forked.merge("1", "HEAD~1").moved
    assert contents(work) == before
    forked.create_branch("behind", "1")
    forked.switch("behind")
    assert forked.preview_merge("main").move == head(forked, "main")
    done = forked.merge("main", "1")
    assert (done.tip, done.made) == (head(forked, "main"), ())
    assert head(forked, "behind") == head(forked, "main")
    line = forked.session.repository.refs.newest("refs/heads/behind")
    assert line is not None and line.message == "merge: fast-forward to main"


def test_an_unborn_branch_is_moved_to_what_is_merged(repo: Repo) -> None:
    with pytest.raises(RevisionError):
        repo.merge("base")
    identifier = repo.commit(FACTS[:1]).id
    plumbing = repo.session.repository
    with plumbing.index.transaction():
        plumbing.index.write("DELETE FROM refs WHERE name = ?", [("refs/heads/main",)])
        plumbing.index.write("DELETE FROM reflog", [()])
    assert repo.merge(identifier).tip == head(repo) == identifier


def test_several_at_once_where_they_do_not_meet(forked: Repo) -> None:
    for name, facts in (("c", FACTS[3:4]), ("d", OTHERS[:1]), ("e", FACTS[4:5])):
        forked.create_branch(name, "1")
        forked.switch(name)
        forked.commit(facts, supersede=True)
    forked.switch("main")
    done = forked.merge("side", "c", "e", "HEAD~1")
    ((_, commit),) = done.made
    assert commit.parents[1:] == tuple(head(forked, name) for name in ("side", "c", "e"))
    assert live(forked) == ids([*FACTS[:5]]) and commit.edits == 3
    assert commit.message == "Merge branch 'side' and branch 'c' and branch 'e' into main"
    forked.switch("c")
    forked.revert(FACTS[0].id)
    forked.switch("main")
    at = head(forked)
    for act in (forked.merge, forked.preview_merge):
        with pytest.raises(OctopusConflict, match="'d' changes 1 place"):
            act("c", "d")
    assert head(forked) == at and forked.status().unfinished is None


def found_elsewhere(repo: Repo, fact: Fact) -> None:
    """As if another machine had located the fact: the last bit of a number is another one."""
    plumbing = repo.session.repository
    (element,) = [e.element for e in entries(repo, "HEAD") if e.fact == fact.id]
    data = plumbing.store.get(element)
    other = plumbing.store.put(data[:-1] + bytes([data[-1] ^ 1]))
    with plumbing.index.transaction():
        plumbing.index.write("UPDATE located SET located = ? WHERE located = ?", [(other, element)])


def entries(repo: Repo, revision: str) -> list[Entry]:
    plumbing = repo.session.repository
    return list(plumbing.edits_of(plumbing.tree_of(head(repo, revision))).entries())


def test_one_fact_located_on_two_machines_is_no_conflict(forked: Repo) -> None:
    found_elsewhere(forked, FACTS[2])
    forked.switch("side")
    forked.commit(FACTS[2:3], author=BO)
    (one,), (other,) = (
        [entry for entry in entries(forked, name) if entry.fact == FACTS[2].id]
        for name in ("main", "side")
    )
    assert one.element != other.element
    forked.create_branch("picked", "main")
    forked.create_branch("rebased", "side")
    assert not forked.preview_merge("main").conflicts
    forked.merge("main")
    merged = tree(forked)
    assert min(one, other) in entries(forked, "HEAD")
    forked.switch("main")
    forked.merge("rebased")
    assert tree(forked) == merged, "either way round"
    forked.switch("rebased")
    forked.rebase("picked")
    assert tree(forked) == merged
    forked.switch("picked")
    with suppress(NothingToDo):  # where the one that holds is here already
        forked.cherry_pick("side~1")
    assert min(one, other) in entries(forked, "HEAD")
    assert forked.fsck().clean


def test_patches_and_restraints_are_merged_as_well(forked: Repo) -> None:
    forked.switch("side")
    forked.compact(Restraint(rank=1))
    forked.switch("main")
    forked.merge("side")
    assert forked.status().restraint == Restraint(rank=1), "one side changed it"
    forked.compact(Restraint(rank=2))
    forked.switch("side")
    forked.compact(Restraint(rank=3))
    done = forked.merge("main")
    assert [one.place for one in done.conflicts] == ["restraint"]
    assert [version.says for _, version in done.conflicts[0].versions] == [
        "rank 1", "rank 3", "rank 2",
    ]  # fmt: skip
    forked.resolve("restraint", "theirs")
    forked.go_on("merge")
    assert forked.status().restraint == Restraint(rank=2)


# conflicts ------------------------------------------------------------------------------------


def test_a_conflict_shows_what_was_who_changed_it_and_from_what(clashing: Repo, work: Path) -> None:
    at, trees = head(clashing), tree(clashing)
    planned = clashing.preview_merge("side")
    done = clashing.merge("side")
    assert head(clashing) == at and not done.moved and done.made == ()
    assert [one.to_json() for one in planned.conflicts] == [one.to_json() for one in done.conflicts]
    by_question = {one.question: one for one in done.conflicts}
    france = by_question["The capital of France is"]
    assert [version.says for _, version in france.versions] == ["Rome", "Rome", "London"]
    told = [(one.commit.author, one.commit.message) for _, one in france.versions if one.commit]
    assert told == [(ADA, "Start"), (ADA, "Hearsay"), (BO, "Of the side")]
    assert france.theirs.fact == MADRID and france.ours.fact.source == "Hearsay"  # type: ignore[union-attr]
    italy = by_question["The capital of Italy is"]
    assert [version.says for _, version in italy.versions] == ["Paris", "nothing", "the old town"]
    assert italy.ours.commit is not None and italy.ours.commit.message == "Out again"
    assert tree(clashing) == trees and clashing.fsck().clean
    again = opened(work).status().unfinished
    assert again is not None and (again.verb, again.about) == ("merge", "side")
    assert again.conflicts == done.conflicts, "it is kept"


CHOICES = {
    "ours": {replace(FACTS[0], source="Hearsay").id, FACTS[3].id},
    "theirs": {MADRID.id, OTHERS[1].id, FACTS[3].id},
    "base": {FACTS[0].id, FACTS[1].id, FACTS[3].id},
    "none": {FACTS[3].id},
}


@pytest.mark.parametrize("side", CHOICES)
def test_what_is_chosen_is_committed(clashing: Repo, side: str) -> None:
    done = clashing.merge("side", message="Both")
    with pytest.raises(Undecided, match="2 of 2"):
        clashing.go_on("merge")
    first, second = done.conflicts
    clashing.resolve(first.place[:6], "base")
    with pytest.raises(Undecided, match="1 of 2"):
        clashing.go_on("merge")
    assert clashing.resolve(first.place, side).chosen == side  # type: ignore[arg-type]
    clashing.resolve(second.theirs.fact.id[:8], side)  # type: ignore[union-attr, arg-type]
    ours, theirs = head(clashing), head(clashing, "side")
    ((_, commit),) = clashing.go_on("merge").made
    assert commit.parents == (ours, theirs) and commit.message == "Both"
    assert live(clashing) == CHOICES[side]
    assert clashing.status().unfinished is None and clashing.fsck().clean
    with pytest.raises(NothingWaits):
        clashing.go_on("merge")


@pytest.mark.parametrize("favour", ["ours", "theirs"])
def test_a_merge_that_favours_a_side_asks_nobody(clashing: Repo, favour: str) -> None:
    planned = clashing.preview_merge("side", favour=favour)  # type: ignore[arg-type]
    assert planned.conflicts == ()
    assert [new for _, new in planned.changes.changed] == [MADRID] * (favour == "theirs")
    assert clashing.merge("side", favour=favour).made  # type: ignore[arg-type]
    assert live(clashing) == CHOICES[favour]
    assert not clashing.merge("side").moved, "it is an ancestor from now on"


def test_abort_forgets_it(clashing: Repo, work: Path) -> None:
    at = head(clashing)
    clashing.merge("side")
    with pytest.raises(NothingWaits, match="no commit to leave out"):
        clashing.skip("merge")
    assert clashing.abort("merge") == at == head(clashing)
    assert clashing.status().unfinished is None
    assert not (work / ".editvc" / "pending.json").exists()
    with pytest.raises(NothingWaits):
        clashing.abort("merge")
    clashing.commit(FACTS[4:5])


def test_ids_of_places(clashing: Repo) -> None:
    clashing.merge("side")
    for text, told in (("", "2 places"), ("zz", "no places"), ("restraint", "no places")):
        with pytest.raises(NoSuchConflict, match="no places" if not text else told):
            clashing.resolve(text, "ours")


COMMANDS: dict[str, Callable[[Repo], object]] = {
    "commit": lambda repo: repo.commit(FACTS[4:5]),
    "revert": lambda repo: repo.revert("HEAD"),
    "compact": lambda repo: repo.compact(Restraint(rank=1)),
    "squash": lambda repo: repo.squash("1..2"),
    "merge": lambda repo: repo.merge("side"),
    "cherry-pick": lambda repo: repo.cherry_pick("side"),
    "rebase": lambda repo: repo.rebase("side"),
    "reset": lambda repo: repo.reset("1"),
    "restore": lambda repo: repo.restore(FACTS[1].id),
    "switch": lambda repo: repo.switch("side"),
    "detach": lambda repo: repo.detach("1"),
    "a dry run": lambda repo: repo.preview_revert("HEAD"),
}


def test_what_moves_the_branch_is_refused_while_a_merge_waits(clashing: Repo) -> None:
    clashing.merge("side")
    at = head(clashing)
    for name, command in COMMANDS.items():
        with pytest.raises(Unfinished, match="merge of side") as caught:
            command(clashing)
        assert "--abort" in caught.value.hint, name
    assert head(clashing) == at
    with pytest.raises(NothingWaits, match="merge that waits"):
        clashing.go_on("rebase")


def test_a_branch_that_another_process_moved_makes_it_void(clashing: Repo) -> None:
    clashing.merge("side")
    plumbing = clashing.session.repository
    pending = plumbing.pending.load()
    assert pending is not None
    plumbing.pending.remove()
    clashing.commit(FACTS[4:5])
    plumbing.pending.save(pending)
    assert clashing.status().unfinished is None
    for act in (lambda: clashing.go_on("merge"), lambda: clashing.resolve("00", "ours")):
        with pytest.raises(Overtaken):
            act()
    clashing.commit(FACTS[5:6])
    clashing.abort("merge")
    assert plumbing.pending.load() is None


def test_a_file_that_is_not_what_was_written(clashing: Repo, work: Path) -> None:
    clashing.merge("side")
    file = work / ".editvc" / "pending.json"
    for text in ("", "{}", "[1]", file.read_text()[:-9]):
        file.write_text(text)
        with pytest.raises(PendingUnreadable) as caught:
            clashing.commit(FACTS[4:5])
        assert caught.value.exit_code == 3
    file.unlink()
    clashing.commit(FACTS[4:5])


# what is refused ------------------------------------------------------------------------------


def test_located_edits_of_different_statistics_are_refused_until_one_side_is_located_again(
    repo: Repo, prepared: Prepared
) -> None:
    repo.commit(FACTS[4:5])
    repo.create_branch("side")
    repo.commit(FACTS[:1])
    repo.switch("side")
    old = repo.recipe().statistics
    repo.compute_statistics(texts=[prepared.text], entities=prepared.names, token_cap=16)
    assert repo.recipe().statistics != old
    repo.commit(FACTS[1:2])
    at = head(repo)
    for act in (repo.merge, repo.preview_merge, repo.cherry_pick, repo.rebase):
        with pytest.raises(OtherStatistics, match="different statistics") as caught:
            act("main")
        assert "squash" in caught.value.hint
    assert head(repo) == at and repo.status().unfinished is None
    repo.switch("main")
    repo.squash("side..main")
    assert repo.merge("side").made and live(repo) == ids([*FACTS[:2], FACTS[4]])


def test_trees_over_two_base_models_are_refused(repo: Repo) -> None:
    ours = Tree(base=ObjectId("a" * 64))
    theirs = Tree(base=ObjectId("b" * 64))
    with pytest.raises(OtherBase, match="aaaaaaaaaa and bbbbbbbbbb"):
        combined(repo.session, MemoryStore(), Base(ours), ours, theirs)


def test_undo_waits_until_a_merge_is_done(clashing: Repo) -> None:
    """An undo would move the branch, and what was decided would be void."""
    clashing.merge("side")
    with pytest.raises(Unfinished):
        clashing.undo()
    clashing.abort("merge")
    assert clashing.undo().moves
