"""``revert``, ``squash`` and ``compact``: history undone or rewritten; facts stay what they are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_repos import ADA, FACTS, FRESH, OTHERS, Prepared, close, contents, same_bits, tree
from tolerances import assert_near, rounding

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.errors import EditvcError
from editvc.porcelain.revert import RevertConflict
from editvc.session.recording import NothingToDo
from editvc.session.trees import tree_at
from editvc.vcs import codec
from editvc.vcs.revisions import RevisionError, UnknownRevision


def ids(repo: Repo, revision: str = "HEAD") -> set[str]:
    return {fact.id for fact in repo.live(revision)}


def located(repo: Repo, revision: str = "HEAD") -> dict[str, str]:
    """Which numbers each live fact has."""
    entries = repo.session.repository.edits_of(tree_at(repo.session, revision)).entries()
    return {entry.fact: entry.element for entry in entries}


# revert ---------------------------------------------------------------------------------------


def test_ways_to_name_what_is_reverted(repo: Repo) -> None:
    for fact in FACTS:
        repo.commit([fact])
    third = repo.session.repository.revisions.commit("3")
    for target, gone in [
        ("HEAD~4", FACTS[1]),
        (third[:8], FACTS[2]),
        (FACTS[3].id, FACTS[3]),
        (FACTS[4].id[:7], FACTS[4]),
        ("6", FACTS[5]),
    ]:
        assert gone.id in ids(repo)
        assert repo.preview_revert(target).changes.removed == (gone,)
        result = repo.revert(target)
        assert gone.id not in ids(repo)
        assert result.commit.edits == 1
    assert ids(repo) == {FACTS[0].id}


def test_messages_of_reverts(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    by_fact = repo.revert(FACTS[0].id[:12])
    assert by_fact.commit.message == (
        f"Revert fact {FACTS[0].id[:10]} ('The capital of France is')"
    )
    by_commit = repo.revert(by_fact.id[:12], author="Bo <bo@example.org>")
    assert by_commit.commit.message == f"Revert commit {by_fact.id[:10]}"
    assert by_commit.commit.author == "Bo <bo@example.org>"
    assert repo.revert("HEAD", message="No").commit.message == "No"


def test_a_revert_of_a_revert_is_the_commit_again(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:4])
    whole = tree(repo)
    repo.revert("2")
    repo.revert("HEAD")
    assert tree(repo) == whole
    repo.revert("HEAD")
    assert tree(repo) == tree(repo, "1")
    assert ids(repo) == {fact.id for fact in FACTS[:2]}


def test_what_a_later_commit_changed_is_not_reverted_over_it(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    repo.commit(OTHERS[:1], supersede=True)
    before = contents(work)
    with pytest.raises(RevertConflict) as caught:
        repo.revert("1")
    assert caught.value.fact == OTHERS[0]
    assert "later commit" in str(caught.value) and "first" in caught.value.hint
    assert contents(work) == before
    repo.revert("2")
    repo.revert("1")
    assert ids(repo) == set()


def test_nothing_to_revert_is_said(repo: Repo) -> None:
    with pytest.raises(RevisionError, match="no commit yet"):
        repo.revert("HEAD")
    repo.commit(FACTS[:1])
    repo.revert("1")
    with pytest.raises(NothingToDo, match="is live any more"):
        repo.revert("1")
    with pytest.raises(NothingToDo, match="the base holds no edits"):
        repo.revert("base")
    with pytest.raises(UnknownRevision):
        repo.revert(FACTS[0].id)
    with pytest.raises(UnknownRevision):
        repo.revert("elsewhere")
    assert repo.status().number == 2


def test_a_fact_id_that_fits_two_facts(repo: Repo) -> None:
    """Found by trying: two facts whose ids begin with the same four digits."""
    seen: dict[str, Fact] = {}
    for number in range(3000):
        fact = Fact("France", f"{{}} has {number} towns and", "Rome")
        if (other := seen.setdefault(fact.id[:4], fact)) is not fact:
            break
    repo.session.repository.set_config("recipe.v_num_grad_steps", "1")
    repo.commit([fact, other])
    with pytest.raises(EditvcError, match="ambiguous") as caught:
        repo.revert(fact.id[:4])
    assert fact.id[:10] in str(caught.value) and other.id[:10] in str(caught.value)
    repo.revert(fact.id[:12])
    assert ids(repo) == {other.id}


def test_head_on_no_branch_commits_and_reverts(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    repo.commit(FACTS[1:2])
    repo.detach("1")
    repo.commit(FACTS[2:3])
    repo.revert("1")
    assert ids(repo) == {FACTS[2].id}
    assert repo.status().branch is None
    assert ids(repo, "main") == {fact.id for fact in FACTS[:2]}


# squash ---------------------------------------------------------------------------------------


def test_a_squash_keeps_the_facts_and_finds_new_numbers(repo: Repo) -> None:
    for fact in FACTS:
        repo.commit([fact])
    old, before = repo.log(), located(repo)
    done = repo.squash("2..4")
    assert (done.commits, done.facts) == (3, 3)
    assert ids(repo) == {fact.id for fact in FACTS}
    after = located(repo)
    renewed = {FACTS[i].id for i in (1, 2, 3)}
    assert {fact for fact in after if after[fact] != before[fact]} == renewed
    rows = repo.log()
    assert [row.number for row in rows] == [4, 3, 2, 1]
    assert rows[2].message == "Squash commits 2 to 4"
    for new, was in zip((*rows[:2], rows[3]), (*old[:2], old[5]), strict=True):
        assert (new.message, new.author, new.time) == (was.message, was.author, was.time)
    assert rows[3].id == old[5].id, "what came before the range is as it was"
    assert (rows[2].edits, rows[2].live, rows[0].live) == (3, 4, 6)
    assert repo.fsck().errors == ()


def test_the_old_commits_stay_reachable(repo: Repo) -> None:
    for fact in FACTS[:3]:
        repo.commit([fact])
    old, delta = repo.status(), repo.materialise()
    repo.squash("1..3", message="As one", author="Bo <bo@example.org>")
    assert repo.status().number == 1
    assert repo.log()[0].message == "As one" and repo.log()[0].author == "Bo <bo@example.org>"
    assert repo.session.repository.revisions.commit("HEAD@{1}") == old.commit
    assert [row.message for row in repo.log("HEAD@{1}")] != [row.message for row in repo.log()]
    assert same_bits(repo.materialise("HEAD@{1}"), delta)
    assert not same_bits(repo.materialise(), delta)
    repo.create_branch("before", "main@{1}")
    assert repo.session.repository.refs.branches()["before"] == old.commit


def test_later_commits_are_replayed_on_a_squash(repo: Repo) -> None:
    """Also those that take a squashed fact out, change one, or bring one back."""
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:3])
    repo.revert(FACTS[1].id)  # taken out later
    repo.commit(OTHERS[:1], supersede=True)  # changed later
    repo.revert("4")  # and changed back
    repo.revert("3")  # and brought back
    sets = {number: ids(repo, str(number)) for number in range(1, 7)}
    messages = [row.message for row in repo.log()]
    repo.squash("1..2", message="Together")
    rows = repo.log()
    assert [row.message for row in rows] == [*messages[:4], "Together"]
    assert [ids(repo, str(n)) for n in range(1, 6)] == [sets[n] for n in range(2, 7)]
    renewed = located(repo, "1")
    assert located(repo) == renewed, "what comes back has the numbers of the squash"
    assert tree(repo) == tree(repo, "1")
    assert repo.fsck().errors == ()


def test_a_squashed_fact_is_still_the_fact_that_a_commit_brought(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    repo.commit(FACTS[1:3])
    repo.commit(FACTS[3:4])
    repo.squash("2..3")
    assert len(repo.changes("HEAD@{1}", "HEAD").relocated) == 3
    repo.revert("HEAD@{1}")
    assert ids(repo) == {fact.id for fact in FACTS[:3]}
    repo.revert("2")
    assert ids(repo) == {FACTS[0].id}
    again = repo.commit(FACTS[3:4])
    assert again.commit.live == 2


def test_a_squash_is_a_function_of_its_facts(prepared: Prepared, work: Path) -> None:
    found = []
    for name, order in (("one", FACTS), ("other", FACTS[::-1])):
        repo = prepared.copy(work / name)
        for fact in order:
            repo.commit([fact])
        repo.squash("1..6")
        found.append(tree(repo))
        close(repo)
    assert found[0] == found[1]


def test_a_squash_measures_both_sides(repo: Repo) -> None:
    repo.commit(FACTS[:3])
    repo.commit(FACTS[3:])
    done = repo.squash("base..HEAD")
    record = done.to_json()
    assert record["squashed"] == 2 and record["facts"] == 6
    assert record["before"].keys() == record["after"].keys() >= {"eff", "par", "spe", "drift"}
    maker = repo.session.materialiser
    for side, revision in ((done.before, "HEAD@{1}"), (done.after, "HEAD")):
        assert side.drift == maker.figures(tree_at(repo.session, revision))["drift"]
        asked = [fact for fact in repo.live(revision)]
        right = [repo.ask(f.question, at=revision).startswith(" " + f.target_new) for f in asked]
        assert_near(side.scores.eff, 100 * sum(right) / len(right), rounding(2))


def test_what_cannot_be_squashed(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    repo.revert("HEAD")
    repo.commit(FACTS[1:2])
    repo.switch("side")
    before = contents(work)
    with pytest.raises(NothingToDo, match="current branch") as caught:
        repo.squash("1..main")
    assert "switch" in caught.value.hint
    repo.switch("main")
    with pytest.raises(NothingToDo, match=r"no located edit of 1\.\.2 is live"):
        repo.squash("1..2")
    with pytest.raises(RevisionError):
        repo.squash("2..9")
    with pytest.raises(RevisionError):
        repo.squash("HEAD")
    after = contents(work)
    changed = {name for name in after if after[name] != before.get(name)}
    objects = {name for name in changed if name.startswith(".editvc/objects")}
    assert changed - objects <= {".editvc/index.db"}, "that is where HEAD is"
    assert {codec.kind_of(after[name]) for name in objects} <= {"operation"}, "of the switches"
    plan = repo.preview_squash("1..3")
    assert (plan.commits, plan.facts) == (3, 1)


# compact --------------------------------------------------------------------------------------


def singular(repo: Repo, layer: int, revision: str = "HEAD") -> torch.Tensor:
    return torch.linalg.svdvals(repo.materialise(revision).layers[layer].dense())


def test_compact_restrains_what_weights_are_made_of(repo: Repo) -> None:
    repo.commit(FACTS)
    before = {layer: singular(repo, layer) for layer in (1, 2)}
    edits = repo.session.repository.tree_of(repo.status().commit).edits
    done = repo.compact(Restraint(prune=1.2, rank=3))
    assert (done.commit.edits, done.commit.live, done.commit.delta) == (0, 6, None)
    assert done.commit.message == "Restrain: prune 1.2, rank 3"
    assert repo.session.repository.tree_of(done.id).edits == edits, "the set itself stays"
    for layer in (1, 2):
        s_max = float(torch.linalg.svdvals(repo.session.materialiser.weight(layer))[0])
        s = before[layer][:3]
        log = torch.log(s / s_max) / math.log(1.2) + s_max
        expected = torch.where(s > s_max, torch.minimum(s, log), s)
        # Singular values err relative to the largest (Weyl), as their factorisations do (H. 19.4).
        bound = rounding(32 * 128)
        assert_near(singular(repo, layer)[:4], [*expected, 0.0], bound, scale=float(s[0]))
    assert any(float(before[layer][0]) > s_max for layer in (1, 2)), "or PRUNE has nothing to do"


def test_commits_and_reverts_go_on_under_a_restraint(prepared: Prepared, work: Path) -> None:
    """They work on the whole set; the restraint is applied to the result."""
    repo, other = prepared.copy(work / "one"), prepared.copy(work / "other")
    restraint = Restraint(energy=0.5)
    repo.commit(FACTS[:3])
    repo.compact(restraint)
    repo.commit(FACTS[3:])
    repo.revert(FACTS[1].id)
    for fact in (FACTS[5], FACTS[0], FACTS[2], FACTS[3], FACTS[4]):
        other.commit([fact])
    unrestrained = tree(other)
    other.compact(restraint)
    assert tree(repo) == tree(other) != unrestrained
    assert same_bits(repo.materialise(), other.materialise())
    repo.compact(Restraint())
    assert tree(repo) == unrestrained
    assert repo.log()[0].message == "Lift the restraint"
    with pytest.raises(NothingToDo, match="nothing to lift"):
        repo.compact(Restraint())


@pytest.mark.parametrize(
    "restraint",
    [Restraint(linear=2.0), Restraint(rect=40.0), Restraint(prune=1.5, drop=0.8, seed=3)],
    ids=["linear", "rect", "drop"],
)
def test_a_restrained_set_is_the_same_whatever_its_history(
    prepared: Prepared, work: Path, restraint: Restraint
) -> None:
    repo, other = prepared.copy(work / "one"), prepared.copy(work / "other")
    repo.compact(restraint)
    repo.commit(FACTS[:3])
    repo.revert(FACTS[1].id)
    other.commit([FACTS[2], FACTS[0]])
    free = other.materialise()
    other.compact(restraint)
    assert tree(repo) == tree(other)
    assert same_bits(repo.materialise(), other.materialise())
    assert not same_bits(free, other.materialise())
    for layer, part in other.materialise().layers.items():
        assert part.rank == (min(part.shape) if restraint.chooses_entries else 2), layer


def test_factors_of_full_rank_are_said_to_be(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    assert not any("full rank" in note for note in repo.export(work / "a", format="delta").notes)
    repo.compact(Restraint(rect=40.0))
    for target, format in (("b", "delta"), ("c", "lora")):
        notes = repo.export(work / target, format=format).notes
        assert any("full rank" in note for note in notes)


def test_a_squash_keeps_the_restraint_of_every_commit(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:4])
    repo.compact(Restraint(rank=2))
    repo.commit(FACTS[4:5])
    repo.compact(Restraint(prune=1.5))
    repo.squash("1..2")
    restraints = [repo.session.repository.tree_of(row.id).restraint for row in repo.log()]
    assert restraints == [Restraint(prune=1.5), Restraint(rank=2), Restraint(rank=2), None]
    repo.squash("1..3")
    restraints = [repo.session.repository.tree_of(row.id).restraint for row in repo.log()]
    assert restraints == [Restraint(prune=1.5), Restraint(rank=2)]


def test_the_preview_of_compact_says_what_it_does(repo: Repo) -> None:
    repo.commit(FACTS)
    plan = repo.preview_compact(Restraint(rank=2))
    values = {layer: singular(repo, layer) for layer in (1, 2)}
    repo.compact(Restraint(rank=2))
    for layer, figures in plan.layers.items():
        assert (figures["rank"], figures["rank_after"]) == (6, 2)
        bound = rounding(32 * 128)
        assert_near(figures["norm"], values[layer].norm(), bound)
        assert_near(figures["s_max"], values[layer][0], bound)
        delta = repo.materialise().layers[layer]
        assert_near(figures["norm_after"], delta.dense().norm(), bound)
        assert_near(figures["s_max_after"], singular(repo, layer)[0], bound)
        assert f"layer {layer}: rank 6 -> 2" in plan.summary()


def test_a_restraint_that_cannot_be_is_refused(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    before = repo.status()
    for wrong in (Restraint(prune=0.5), Restraint(rank=-1), Restraint(energy=1.5)):
        with pytest.raises(EditvcError):
            repo.compact(wrong)
    assert repo.status() == before
    assert repo.commit(FRESH[:1]).commit.author == ADA
