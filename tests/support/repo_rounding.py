"""How far rounding may move what a repository holds: solutions, and edits located afresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from tolerances import condition, moved_by_weights, rounding, scaled, size, sum_rounding

from editvc import Fact, Repo
from editvc.algebra.factored import Factored
from editvc.algebra.solvers import System, solver_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.locate import locate
from editvc.materialise.solutions import stack
from editvc.session.trees import tree_at


def factors(part: Factored) -> float:
    """What the rounding of a product is relative to: the sizes of its factors."""
    return size(part.left) * size(part.right)


def system_rounding(system: System) -> float:
    """How far rounding may move a solution, or one of a part of its edits, relative to its norm.

    Sums run over v and over n; what multiplies their rounding are the two factorisations, of the
    preconditioner and of ``ridge I + Q^T Q``, and how much ``R K^T`` loses by cancellation.
    """
    keys, residuals, whitened = system.edits.keys, system.edits.residuals, system.whitened
    lower = getattr(system.preconditioner, "lower", None)
    weighed = 1.0 if lower is None else condition(scaled(lower @ lower.T))
    eye = system.ridge * torch.eye(keys.shape[1], dtype=torch.float64)
    cancelled = size(residuals) * size(keys) / size(residuals @ keys.T)
    terms = rounding(sum(keys.shape) + 10)
    return terms * weighed * condition(eye + whitened.T @ whitened) * cancelled


def solution_rounding(repo: Repo, layer: int, revision: str = "HEAD") -> float:
    """The same of the whole set of a revision, whose edits are solved recipe by recipe."""
    groups = repo.session.materialiser.solutions.groups(tree_at(repo.session, revision))
    return sum(system_rounding(group.systems[layer]) for group in groups)


def located_rounding(repo: Repo, recipe: LocatedRecipe, facts: Sequence[Fact], layer: int) -> float:
    """How far deltas of facts may lie apart, relative to their norm, that were located twice.

    A search sums over the vocabulary; what it finds is stored in float32.
    """
    maker, lm = repo.session.materialiser, repo.session.base_model()
    preconditioners, requests = maker.preconditioners.of(recipe), [fact.request for fact in facts]
    shaping = maker.statistics.shaping(recipe)

    def delta(model: Any) -> torch.Tensor:
        one = replace(lm, model=model)
        located = locate(one, requests, recipe, preconditioners, shaping=shaping)
        edits = stack(located, layer, maker.base)
        return solver_of(recipe).system(edits, preconditioners[layer]).solution.dense()

    # Found with gradients, and stored in float32 on the way.
    unit = sum_rounding(lm.model, len(lm.tokenizer)) + rounding(1, torch.float32)
    return unit * moved_by_weights(delta, lm.model)
