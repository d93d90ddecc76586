"""From facts to elements of the set: what each method makes of requests, on a given model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from editvc.algebra.delta import Delta
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.method import Method
from editvc.core.methods.recipe import Recipe
from editvc.materialise.elements import Element
from editvc.materialise.solutions import stack
from editvc.porcelain.train import editor_of

if TYPE_CHECKING:
    from editvc.repo import Repo

Made = Element
Maker = Callable[..., Sequence[Made]]
"""Called with a model, its tokenizer, the requests, the recipe, what it needs, and ``progress``."""


def maker_of(row: Method) -> Maker:
    """The function that a row names: its module is loaded only where the method is used."""
    module, _, function = row.maker.partition(":")
    maker: Maker = getattr(importlib.import_module(module), function)
    return maker


def make(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: Recipe
) -> Sequence[Made]:
    """One element for every request, each as if it were the only one, on ``model`` as it is."""
    maker = maker_of(recipe.row)
    if isinstance(recipe, LocatedRecipe) and repo.progress is not None:
        repo.progress("targets", 0, len(requests))  # the first batch may take a minute
    resources = _resources(repo, recipe)
    return maker(model, tokenizer, requests, recipe, **resources, progress=repo.progress)


def _resources(repo: Repo, recipe: Any) -> dict[str, Any]:
    """What of the repository a maker takes beside the recipe."""
    maker, resources = repo.materialiser, dict[str, Any]()
    if isinstance(recipe, LocatedRecipe):
        resources["guards"] = maker.guards.of(recipe)
        resources["shaping"] = maker.statistics.shaping(recipe)
    if "editor" in recipe.row.needs:
        resources["editor"] = editor_of(repo, recipe)
    return resources


def make_in_sequence(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: Recipe
) -> Sequence[Made]:
    """Elements for an edited ``model``, as papers measure edits one after the other: patches.

    A located method's solution of the requests alone, blind to all that was edited before, is a sum
    of one term an edit: ``sum_i r_i g_i^T`` with ``G = (ridge I + Q^T Q)^-1 Q^T F^-1``. Every fact
    gets its own, so each can be taken out again. Codebook entries are what they are on any model.
    """
    made = make(repo, model, tokenizer, requests, recipe)
    if not isinstance(recipe, LocatedRecipe):
        return made
    located = [one for one in made if isinstance(one, Located)]
    solver, guards = solver_of(recipe), repo.materialiser.guards.of(recipe)
    base = repo.materialiser.base
    terms = {
        layer: solver.terms(stack(located, layer, base), guards[layer]) for layer in recipe.layers
    }
    return [
        Patch(Delta({layer: terms[layer][index] for layer in recipe.layers}), one.figures)
        for index, one in enumerate(located)
    ]
