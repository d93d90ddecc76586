"""Near-conflicts of a merge: figures beside the dense formula, both ways round, and who is told."""

from __future__ import annotations

import pytest
import torch
from tiny_repos import FACTS, OTHERS, Prepared

from editvc import Repo
from editvc.core.facts import Fact
from editvc.materialise.interference import Interference
from editvc.porcelain import sequencer
from editvc.session.take_inputs import take_inputs
from editvc.session.trees import tree_at


def forked(repo: Repo, **how: object) -> Repo:
    repo.commit(FACTS[4:5], **how)  # type: ignore[arg-type]
    repo.create_branch("side")
    repo.commit(FACTS[:2], **how)  # type: ignore[arg-type]
    repo.switch("side")
    repo.commit(FACTS[2:4], **how)  # type: ignore[arg-type]
    repo.switch("main")
    return repo


def test_figures_of_located_edits_are_those_of_the_dense_formula(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "LINEAR_LIMIT", -1.0)
    near = forked(repo).merge("side").near
    told = {(pair.acting.id, pair.on.id): pair.share for pair in near}
    pairs = [(a, b) for a in FACTS[:2] for b in FACTS[2:4]]
    assert told.keys() == {(a.id, b.id) for one in pairs for a, b in (one, one[::-1])}
    assert [pair.share for pair in near] == sorted((pair.share for pair in near), reverse=True)
    maker = repo.session.materialiser
    entries = repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    made = {entry.fact: maker.elements.located([entry])[0] for entry in entries}
    recipe = repo.recipe()
    for (acting, on), share in told.items():
        parts = []
        for layer in recipe.layers:
            weighted = maker.statistics.weighted_moment(recipe, layer).double()
            k, other = (made[one].keys[layer].double() for one in (acting, on))
            solved = torch.linalg.solve(weighted, k)
            parts.append(float(solved @ other / (solved @ k)))
        assert share == pytest.approx(abs(sum(parts) / len(parts)), rel=1e-6)


def test_a_gate_that_opens_for_a_subject_of_the_other_side(
    repo: Repo, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_inputs(repo.session, (1,), texts=[prepared.text], entities=prepared.names)
    recipe = repo.choose("gated", options=["layers=[1]", "v_num_grad_steps=2"]).recipe
    monkeypatch.setattr(sequencer, "LIMIT", -1.0)
    near = forked(repo, recipe=recipe).merge("side").near
    assert len(near) == 8
    tree = tree_at(repo.session, "HEAD")
    live = repo.session.materialiser.elements.gated(tree)
    made = {one.entry.fact: one.edit for one in live}
    for pair in near:
        gate, other = made[pair.acting.id], made[pair.on.id]
        score = float(other.input.double() @ gate.filter.double())
        opened = min(1.0, max(0.0, (score - gate.threshold) / recipe.rise + 0.5))  # type: ignore[attr-defined]
        told = 1.0 if gate.telling is None else float(other.input.double() @ gate.telling.double())
        assert pair.share == pytest.approx(abs(opened * told), rel=1e-6)


def test_only_pairs_of_both_sides_are_told_and_only_over_the_limit(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked(repo)
    repo.create_branch("copy", "main")
    for pair in repo.merge("side").near:
        assert pair.share > sequencer.LINEAR_LIMIT
        assert {pair.acting.id, pair.on.id} & {fact.id for fact in FACTS[:2]}
        assert {pair.acting.id, pair.on.id} & {fact.id for fact in FACTS[2:4]}
    monkeypatch.setattr(sequencer, "LINEAR_LIMIT", -1.0)
    repo.switch("copy")
    assert repo.merge("HEAD").near == (), "nothing was merged"


def test_a_place_that_got_the_bases_version_is_of_neither_side(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "LINEAR_LIMIT", -1.0)
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    repo.revert(FACTS[0].id)
    repo.switch("side")
    repo.commit(OTHERS[:1], supersede=True)
    (conflict,) = repo.merge("main").conflicts
    repo.resolve(conflict.place, "base")
    assert repo.go_on("merge").near == ()


def test_in_words() -> None:
    one, other = Fact("France", "{} is", "x"), Fact("Italy", "{} is", "y")
    pair = Interference(one, other, 0.5)
    assert pair.line == "'France is' acts on 'Italy is': 0.50"
    assert pair.to_json() == {"acting": one.id, "on": other.id, "share": 0.5}
