"""From facts to elements of the set: what each method makes of requests, on a given model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from editvc.algebra.delta import Delta
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Request
from editvc.core.methods.patch_recipes import AnyRecipe, Mend
from editvc.core.methods.recipe import Recipe
from editvc.core.progress import Progress
from editvc.editing.fine_tuning import fine_tune
from editvc.editing.grace import find_entries
from editvc.editing.knowledge_neurons import knowledge_neurons
from editvc.editing.locate import locate
from editvc.editing.mend import edit as mend
from editvc.materialise.editors import editor_of
from editvc.materialise.elements import Element
from editvc.materialise.materialiser import Materialiser
from editvc.materialise.solutions import stack

Loaded = tuple[Any, Any]
Maker = Callable[[Materialiser, Loaded, Sequence[Request], Any, Progress | None], Sequence[Element]]
"""Called with the materialiser, a model and its tokenizer, the requests, the recipe, progress."""


def make(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: AnyRecipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """One element for every request, each as if it were the only one, on the model as it is."""
    maker: Maker = MAKERS.get(recipe.method, _located)
    return maker(materialiser, loaded, requests, recipe, progress)


def make_in_sequence(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: AnyRecipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """Elements for an edited model, as papers measure edits one after the other: patches.

    A located method's solution of the requests alone, blind to all that was edited before, is a sum
    of one term an edit: ``sum_i r_i g_i^T`` with ``G = (ridge I + Q^T Q)^-1 Q^T F^-1``. Every fact
    gets its own, so each can be taken out again. Codebook entries are what they are on any model.
    """
    elements = make(materialiser, loaded, requests, recipe, progress)
    if not isinstance(recipe, Recipe):
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


def _located(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Sequence[Located]:
    if progress is not None:
        progress("targets", 0, len(requests))  # the first batch may take a minute
    return locate(
        *loaded, requests, recipe, materialiser.guards.of(recipe),
        shaping=materialiser.statistics.shaping(recipe), progress=progress,
    )  # fmt: skip


def _by(function: Callable[..., Sequence[Element]]) -> Maker:
    """The maker of a method that needs nothing of the repository but who hears of progress."""

    def maker(
        materialiser: Materialiser,
        loaded: Loaded,
        requests: Sequence[Request],
        recipe: Any,
        progress: Progress | None,
    ) -> Sequence[Element]:
        return function(*loaded, requests, recipe, progress=progress)

    return maker


def _mend(
    materialiser: Materialiser,
    loaded: Loaded,
    requests: Sequence[Request],
    recipe: Mend,
    progress: Progress | None,
) -> Sequence[Patch]:
    editor = editor_of(materialiser.repository, recipe)
    return mend(*loaded, requests, recipe, editor, progress=progress)


MAKERS: Mapping[str, Maker] = {
    "ft": _by(fine_tune),
    "ft-c": _by(fine_tune),
    "kn": _by(knowledge_neurons),
    "mend": _mend,
    "grace": _by(find_entries),
}
"""What makes patches and codebook entries; every method without a row here is a located one."""
