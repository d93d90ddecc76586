"""What an edit alone does: the batched figures are those of the dense solution of one edit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_repos import FACTS

from editvc import Repo
from editvc.algebra.solvers import solver_of
from editvc.materialise.lone_edits import lone_edits
from editvc.materialise.solutions import stack
from editvc.session.trees import tree_at


@pytest.mark.parametrize("method", ["memit", "rome", "adaple"])
def test_figures_are_those_of_the_dense_lone_delta(repo: Repo, method: str) -> None:
    recipe = repo.choose(method).recipe
    repo.commit(FACTS[:3], recipe=recipe)
    maker = repo.session.materialiser
    entries = maker.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    elements = [maker.elements.element(entry.element)[1] for entry in entries]
    for element, found in zip(elements, lone_edits(maker, recipe, elements), strict=True):
        squares = weights = drift = names = 0.0
        for layer in recipe.layers:
            system = solver_of(recipe).system(
                stack([element], layer, maker.base), maker.preconditioners.of_layer(recipe, layer)
            )
            delta, weight = system.solution.dense(), maker.weight(layer)
            text = maker.statistics.text_moment(layer, [recipe])
            entity = maker.statistics.names_moment(layer, [recipe])
            output = float(torch.trace(weight @ text @ weight.T))
            squares += float(delta.square().sum())
            weights += float(weight.square().sum())
            drift += float(torch.trace(delta @ text @ delta.T)) / output
            names += float(torch.trace(delta @ entity @ delta.T)) / output
        assert found.distance == pytest.approx((squares / weights) ** 0.5, rel=1e-8)
        assert found.drift == pytest.approx(max(0.0, drift), rel=1e-6, abs=1e-7)
        assert found.names == pytest.approx(max(0.0, names), rel=1e-6, abs=1e-7)
        figures = element.figures
        assert found.residual == pytest.approx(figures["residual"] / figures["hidden"])
        assert found.objective == pytest.approx(1 / figures["base_probability"])


def test_other_edits_make_no_difference(repo: Repo) -> None:
    recipe = repo.recipe()
    repo.commit(FACTS)
    maker = repo.session.materialiser
    entries = maker.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    elements = [maker.elements.element(entry.element)[1] for entry in entries]
    together = lone_edits(maker, recipe, elements)
    for element, one in zip(elements, together, strict=True):
        (alone,) = lone_edits(maker, recipe, [element])
        assert alone.to_json() == pytest.approx(one.to_json(), rel=1e-9)


def test_a_patch_has_the_figures_of_its_change(repo: Repo) -> None:
    recipe = repo.choose("ft", options=["layers=[1]", "num_steps=3"]).recipe
    repo.commit(FACTS[:1], recipe=recipe)
    maker = repo.session.materialiser
    (entry,) = maker.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    _, patch = maker.elements.element(entry.element)
    (found,) = lone_edits(maker, recipe, [patch])
    ratio = patch.delta.norm() / float(torch.linalg.vector_norm(maker.weight(1)))
    assert found.distance == pytest.approx(ratio, rel=1e-6)
    assert found.drift > 0 and found.names > 0 and "leverage" not in found.to_json()
    twice = replace(patch, delta=patch.delta + patch.delta)
    (doubled,) = lone_edits(maker, recipe, [twice])
    assert doubled.drift == pytest.approx(4 * found.drift)


def test_a_codebook_leaves_the_weights_alone(repo: Repo) -> None:
    recipe = repo.choose("grace", options=["layers=[2]", "n_iter=1"]).recipe
    repo.commit(FACTS[:1], recipe=recipe)
    maker = repo.session.materialiser
    (entry,) = maker.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    assert lone_edits(maker, recipe, [maker.elements.element(entry.element)[1]]) == [None]
