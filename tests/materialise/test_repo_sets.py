"""A version of the model is a function of its set of edits, and of nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from repo_rounding import factors, solution_rounding
from tiny_repos import FACTS, OTHERS, Prepared, close, contents, dense, same_bits, tree
from tolerances import assert_near, rounding
from vcs_values import quick_folder

from editvc import Repo
from editvc.algebra.delta import delta_from_bytes
from editvc.core.facts import Fact
from editvc.core.ids import SlotId
from editvc.porcelain.revert import RevertConflict
from editvc.session.recording import NothingToDo
from editvc.session.trees import tree_at

Live = dict[SlotId, Fact]

COMMITS = st.lists(st.sampled_from(FACTS + OTHERS), min_size=1, max_size=4, unique_by=id)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), COMMITS),
        st.tuples(st.just("turn"), st.integers(0, 1)),  # a slot of two targets to the other one
        st.tuples(st.just("withdraw"), st.integers(0, 5)),  # a live fact, counted round and round
        st.tuples(st.just("revert"), st.integers(0, 5)),  # a commit, likewise
    ),
    min_size=5,
    max_size=10,
)


def committed(repo: Repo, now: Live, facts: list[Fact]) -> Live:
    """Commit facts, the later of one slot in place of the earlier, one commit for each clash."""
    after = now | {fact.slot: fact for fact in facts}
    wanted = [fact for fact in after.values() if now.get(fact.slot) != fact]
    if not wanted:
        with pytest.raises(NothingToDo):
            repo.commit(list({fact.slot: fact for fact in facts}.values()), supersede=True)
        return now
    repo.commit(wanted, supersede=True)
    return after


def withdrawn(repo: Repo, now: Live, place: int) -> Live:
    if not now:
        return now
    fact = now[sorted(now)[place % len(now)]]
    repo.revert(fact.id[:16])
    return {slot: held for slot, held in now.items() if held != fact}


def reverted(repo: Repo, history: list[Live], place: int) -> Live:
    """Revert a commit by number, spelt out: what it did is undone wherever it still stands."""
    now = history[-1]
    if len(history) == 1:
        return now
    number = 1 + place % (len(history) - 1)
    before, after = history[number - 1], history[number]
    undone = dict(now)
    for slot in before.keys() | after.keys():
        was, became, is_now = before.get(slot), after.get(slot), now.get(slot)
        if was == became or is_now == was:
            continue
        if is_now != became:
            with pytest.raises(RevertConflict):
                repo.revert(str(number))
            return now
        undone.pop(slot, None)
        undone |= {slot: was} if was else {}
    if undone == now:
        with pytest.raises(NothingToDo):
            repo.revert(str(number))
        return now
    repo.revert(str(number))
    return undone


@settings(max_examples=30)
@given(STEPS)
def test_every_way_to_a_set_gives_the_same_model(
    prepared: Prepared, steps: list[tuple[str, object]]
) -> None:
    with quick_folder() as folder:
        repo, direct = prepared.copy(folder / "wandering"), prepared.copy(folder / "direct")
        history: list[Live] = [{}]
        for verb, what in steps:
            now = history[-1]
            if verb == "commit":
                after = committed(repo, now, what)
            elif verb == "turn":
                pair = (FACTS[what], OTHERS[what])
                after = committed(repo, now, [pair[now.get(pair[0].slot) == pair[0]]])
            elif verb == "withdraw":
                after = withdrawn(repo, now, what)
            else:
                after = reverted(repo, history, what)
            if after != now:
                history.append(after)
        facts = list(history[-1].values())
        assert repo.status().number == len(history) - 1
        assert {fact.id for fact in repo.live()} == {fact.id for fact in facts}
        if facts:
            direct.commit(facts)
        assert repo.status().tree == direct.status().tree
        assert same_bits(repo.materialise(), direct.materialise())
        assert repo.fsck().errors == ()
        assert "_loaded" not in vars(repo.session), "what is located already needs no model"
        close(repo)
        close(direct)


def weights(repo: Repo, to: Path) -> tuple[str, bytes]:
    done = repo.export(to)
    return done.digest, (to / "model.safetensors").read_bytes()


def tensors(file: bytes) -> bytes:
    """A safetensors file behind its header."""
    return file[8 + int.from_bytes(file[:8], "little") :]


def test_one_by_one_backwards_and_at_once_export_the_same_bytes(
    prepared: Prepared, work: Path
) -> None:
    found = []
    for name, groups in {
        "at once": [FACTS],
        "one by one": [[fact] for fact in FACTS],
        "backwards": [[fact] for fact in reversed(FACTS)],
        "by threes": [FACTS[3:], FACTS[:3]],
    }.items():
        repo = prepared.copy(work / name)
        for group in groups:
            repo.commit(group)
        found.append((tree(repo), *weights(repo, work / f"{name} out")))
        close(repo)
    assert found == [found[0]] * 4
    base = (prepared.base / "model.safetensors").read_bytes()
    before, after = tensors(base), tensors(found[0][2])
    assert before != after and len(before) == len(after)


def test_half_reverted_is_half_never_made(prepared: Prepared, work: Path) -> None:
    repo, never = prepared.copy(work / "reverted"), prepared.copy(work / "never")
    for fact in FACTS:
        repo.commit([fact])
    for number in (5, 1, 3):
        repo.revert(str(number))
    never.commit([FACTS[5], FACTS[1], FACTS[3]])
    assert tree(repo) == tree(never)
    assert same_bits(repo.materialise(), never.materialise())
    assert weights(repo, work / "a") == weights(never, work / "b")
    assert repo.ask(FACTS[0].question, at="HEAD") == never.ask(FACTS[0].question)


def test_all_reverted_is_the_base(repo: Repo, prepared: Prepared, work: Path) -> None:
    repo.commit(FACTS)
    repo.revert("HEAD")
    status = repo.status()
    assert (status.number, status.live) == (2, 0)
    assert repo.materialise().is_empty
    _, bits = weights(repo, work / "out")
    assert bits == (prepared.base / "model.safetensors").read_bytes()


def test_deltas_of_commits_add_up_to_the_delta_of_the_tree(repo: Repo) -> None:
    """To rounding as they are computed, to that of float32 as they are stored."""
    for group in (FACTS[:2], FACTS[2:5], FACTS[5:]):
        repo.commit(group)
    repo.commit([OTHERS[0]], supersede=True)
    repo.revert("2")
    maker, plumbing = repo.session.materialiser, repo.session.repository
    commits = [row.id for row in repo.log()][::-1]
    trees = [plumbing.tree_of(None), *(plumbing.tree_of(one) for one in commits)]
    total = maker.solutions.of(tree_at(repo.session, "HEAD"))
    for layer in (1, 2):
        expected = dense(total, layer)
        changes = [maker.solutions.change(a, b) for a, b in itertools.pairwise(trees)]
        steps = [change.layers[layer] for change in changes]
        bound, scale = solution_rounding(repo, layer), sum(map(factors, steps))
        assert_near(sum(step.dense() for step in steps), expected, bound, scale)
        stored = [
            delta_from_bytes(plumbing.store.get(plumbing.read_commit(one).delta))[0]
            for one in commits
        ]
        rounded = sum(dense(step, layer) for step in stored)
        assert_near(rounded, expected, bound + rounding(1, torch.float32), scale)
        ranks = [step.layers[layer].rank for step in stored]
        assert ranks == [2, 3, 1, 2, 3], "one of rank 2 takes a fact out and puts one in"


def test_what_an_edit_takes_on_disk(repo: Repo) -> None:
    """The bound of the contract: 4 (u + v) bytes a layer and 4 KB."""
    repo.commit(FACTS[:1])
    plumbing = repo.session.repository
    store, commit = plumbing.store, plumbing.read_commit(repo.status().commit)
    located = next(iter(plumbing.edits_of(tree_at(repo.session, "HEAD")).entries())).element
    bound = 4 * (32 + 128) * 2 + 4096
    assert len(store.get(located)) <= bound
    assert len(store.get(commit.delta)) <= bound


def test_branches_hold_sets_of_their_own(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    repo.create_branch("side")
    repo.commit(FACTS[2:])
    whole = tree(repo)
    repo.switch("side")
    assert [fact.id for fact in repo.live()] == [fact.id for fact in repo.live("main~1")]
    for fact in reversed(FACTS[2:]):
        repo.commit([fact])
    assert tree(repo) == whole == tree(repo, "main")
    assert repo.status().commit != repo.session.repository.refs.branches()["main"]


def test_reading_and_materialising_change_nothing_on_disk(repo: Repo, work: Path) -> None:
    repo.commit(FACTS)
    repo.health()  # its figures are kept in the cache, where they can be made again
    before = contents(work)
    repo.status(), repo.log(), repo.live(), repo.changes("base", "HEAD"), repo.health()
    repo.delta_norms("base", "HEAD"), repo.materialise(), repo.fsck(), repo.load_model()
    assert contents(work) == before
