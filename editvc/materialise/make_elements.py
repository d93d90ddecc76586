"""From facts to elements of the set: what each method makes of requests, on a given model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from editvc.algebra.delta import Delta
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.method import Method
from editvc.core.methods.recipe import Recipe
from editvc.core.progress import Progress
from editvc.materialise.editors import editor_of
from editvc.materialise.elements import Element
from editvc.materialise.materialiser import Materialiser
from editvc.materialise.solutions import stack

Loaded = tuple[Any, Any]
Maker = Callable[..., Sequence[Element]]
"""Called with a model, its tokenizer, the requests, the recipe, what it needs, and ``progress``."""


def maker_of(row: Method) -> Maker:
    """The function that a row names: its module is loaded only where the method is used."""
    module, _, function = row.maker.partition(":")
    maker: Maker = getattr(importlib.import_module(module), function)
    return maker


def make(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """One element for every request, each as if it were the only one, on the model as it is."""
    maker = maker_of(recipe.row)
    if isinstance(recipe, LocatedRecipe) and progress is not None:
        progress("targets", 0, len(requests))  # the first batch may take a minute
    resources = _resources(materialiser, recipe)
    return maker(*loaded, requests, recipe, **resources, progress=progress)


def _resources(materialiser: Materialiser, recipe: Any) -> dict[str, Any]:
    """What of the repository a maker takes beside the recipe."""
    resources = dict[str, Any]()
    if isinstance(recipe, LocatedRecipe):
        resources["guards"] = materialiser.guards.of(recipe)
        resources["shaping"] = materialiser.statistics.shaping(recipe)
    if "editor" in recipe.row.needs:
        resources["editor"] = editor_of(materialiser.repository, recipe)
    return resources


def make_in_sequence(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """Elements for an edited model, as papers measure edits one after the other: patches.

    A located method's solution of the requests alone, blind to all that was edited before, is a sum
    of one term an edit: ``sum_i r_i g_i^T`` with ``G = (ridge I + Q^T Q)^-1 Q^T F^-1``. Every fact
    gets its own, so each can be taken out again. Codebook entries are what they are on any model.
    """
    elements = make(materialiser, loaded, requests, recipe, progress)
    if not isinstance(recipe, LocatedRecipe):
        return elements
    located = [one for one in elements if isinstance(one, Located)]
    solver, guards = solver_of(recipe), materialiser.guards.of(recipe)
    base = materialiser.base
    terms = {
        layer: solver.terms(stack(located, layer, base), guards[layer]) for layer in recipe.layers
    }
    return [
        Patch(Delta({layer: terms[layer][index] for layer in recipe.layers}), one.figures)
        for index, one in enumerate(located)
    ]
