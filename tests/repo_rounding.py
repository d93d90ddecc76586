"""How far rounding may move what a repository holds: solutions, and edits located afresh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tolerances import condition, moved_by_weights, rounding, scaled, size, sum_rounding

from editvc import Fact, Repo
from editvc.core.recipe import Recipe
from editvc.editing.delta import Factored
from editvc.editing.locate import locate
from editvc.editing.solvers import System, solver_of
from editvc.editing.tracing import Request
from editvc.materialise.solutions import stack
from editvc.porcelain.reading import tree_at


def factors(part: Factored) -> float:
    """What the rounding of a product is relative to: the sizes of its factors."""
    return size(part.left) * size(part.right)


def system_rounding(system: System) -> float:
    """How far rounding may move a solution, or one of a part of its edits, relative to its norm.

    Sums run over v and over n; what multiplies their rounding are the two factorisations, of the
    guard and of ``ridge I + Q^T Q``, and how much ``R K^T`` loses by cancellation.
    """
    keys, residuals, whitened = system.edits.keys, system.edits.residuals, system.whitened
    lower = getattr(system.whitening, "lower", None)
    guard = 1.0 if lower is None else condition(scaled(lower @ lower.T))
    eye = system.ridge * torch.eye(keys.shape[1], dtype=torch.float64)
    cancelled = size(residuals) * size(keys) / size(residuals @ keys.T)
    terms = rounding(sum(keys.shape) + 10)
    return terms * guard * condition(eye + whitened.T @ whitened) * cancelled


def solution_rounding(repo: Repo, layer: int, revision: str = "HEAD") -> float:
    """The same of the whole set of a revision, whose edits are solved recipe by recipe."""
    groups = repo.materialiser.solutions.groups(tree_at(repo, revision))
    return sum(system_rounding(group.systems[layer]) for group in groups)


def located_rounding(repo: Repo, recipe: Recipe, facts: Sequence[Fact], layer: int) -> float:
    """How far deltas of facts may lie apart, relative to their norm, that were located twice.

    A search sums over the vocabulary; what it finds is stored in float32.
    """
    maker, (model, tokenizer) = repo.materialiser, repo.base_model()
    guards, requests = maker.guards.of(recipe), [Request(*fact.request) for fact in facts]
    shaping = maker.statistics.shaping(recipe)

    def delta(one: Any) -> torch.Tensor:
        located = locate(one, tokenizer, requests, recipe, guards, shaping=shaping)
        edits = stack(located, layer, maker.base)
        return solver_of(recipe).system(edits, guards[layer]).solution.dense()

    return rounding_when_stored(delta, model, tokenizer)


def rounding_when_stored(result: Callable[[Any], Any], model: Any, tokenizer: Any) -> float:
    """Of what is found with gradients and stored in float32 on the way."""
    unit = sum_rounding(model, len(tokenizer)) + rounding(1, torch.float32)
    return unit * moved_by_weights(result, model)
