"""From facts to elements of the set: what each method makes of requests, on a given model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.input_statistics import LayerInputs
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.preconditioners import Preconditioner
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.mend import MendRecipe
from editvc.core.methods.method import Method
from editvc.core.methods.recipe import Recipe
from editvc.core.progress import Progress
from editvc.editing.edit_batches import BATCH
from editvc.editing.locate import locate_together
from editvc.editing.mend_editor import Editor
from editvc.editing.resources import Resources
from editvc.materialise.editors import editor_of
from editvc.materialise.elements import Element
from editvc.materialise.materialiser import Materialiser
from editvc.materialise.solutions import stack
from editvc.models.language_model import LanguageModel
from editvc.models.workers import Workers

Maker = Callable[
    [LanguageModel, Sequence[Request], Any, Resources, Progress | None], Sequence[Element]
]
"""Called with a model, the requests, the recipe, what a repository has for it, and progress."""


@dataclass(frozen=True, slots=True)
class GatheredResources:
    """What the objects of a repository have for the maker of one recipe (:class:`Resources`).

    It holds no more than that and knows no repository, so it can be sent to other machines.
    """

    by_layer: Mapping[int, Preconditioner]
    shape: Tensor | None
    layer_inputs: LayerInputs | None
    trained: Editor | None

    @classmethod
    def of(cls, materialiser: Materialiser, recipe: Recipe) -> GatheredResources:
        """What ``recipe`` needs, read from the store."""
        located = recipe if isinstance(recipe, LocatedRecipe) else None
        statistics = materialiser.statistics
        return cls(
            materialiser.preconditioners.of(located) if located else {},
            statistics.shaping(located) if located else None,
            statistics.inputs_of(recipe) if isinstance(recipe, GatedRecipe) else None,
            editor_of(materialiser.repository, recipe) if isinstance(recipe, MendRecipe) else None,
        )

    def preconditioners(self, _recipe: LocatedRecipe) -> Mapping[int, Preconditioner]:
        """What the recipe's solver weighs edits against, by layer."""
        return self.by_layer

    def shaping(self, _recipe: LocatedRecipe) -> Tensor | None:
        """What the recipe shapes its targets by, (u, u); None where it names no sensitivity."""
        return self.shape

    def inputs(self, _recipe: GatedRecipe) -> LayerInputs:
        """What the MLP of the recipe's layer sees."""
        assert self.layer_inputs is not None, "gathered for a gated recipe"
        return self.layer_inputs

    def editor(self, _recipe: MendRecipe) -> Editor:
        """The trained editor that the recipe names."""
        assert self.trained is not None, "gathered for a recipe of MEND"
        return self.trained


def maker_of(row: Method) -> Maker:
    """The function that a row names: its module is loaded only where the method is used."""
    module, _, function = row.maker.partition(":")
    maker: Maker = getattr(importlib.import_module(module), function)
    return maker


def make(
    materialiser: Materialiser,
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """One element for every request, each as if it were the only one, on the model as it is."""
    resources = GatheredResources.of(materialiser, recipe)
    return _make(recipe, resources, lm, requests, progress)


def make_in_batches(
    materialiser: Materialiser,
    workers: Workers,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Iterator[Sequence[Element]]:
    """:func:`make` on the base, ``BATCH`` requests after the other: what each batch became.

    Batches are cut in the order of the requests, whoever does the work, so elements are the same to
    the bit. ``progress`` hears of facts where there are several batches.
    """
    batches = [requests[first : first + BATCH] for first in range(0, len(requests), BATCH)]
    resources = GatheredResources.of(materialiser, recipe)
    told = progress if len(batches) > 1 else None
    done = 0
    if told is not None:
        told("facts", done, len(requests))
    for elements in workers.map(partial(_make, recipe, resources), batches):
        yield elements
        done += len(elements)
        if told is not None:
            told("facts", done, len(requests))


def _make(
    recipe: Recipe,
    resources: Resources,
    lm: LanguageModel,
    requests: Sequence[Request],
    progress: Progress | None,
) -> Sequence[Element]:
    return maker_of(recipe.row)(lm, requests, recipe, resources, progress)


def make_in_sequence(
    materialiser: Materialiser,
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: Recipe,
    progress: Progress | None,
) -> Sequence[Element]:
    """Elements for an edited model, as papers measure edits one after the other: patches.

    A located method takes the requests as one batch, layer after layer, each with the layers below
    edited, as its paper does (MEMIT, algorithm 1), and blind to all that was edited before. The
    solution is a sum of one term an edit: ``sum_i r_i g_i^T`` with
    ``G = (ridge I + Q^T Q)^-1 Q^T F^-1``. Every fact
    gets its own, so each can be taken out again. Codebook entries are what they are on any model.
    """
    elements = make(materialiser, lm, requests, recipe, progress)
    if not isinstance(recipe, LocatedRecipe):
        return elements
    alone = [element for element in elements if isinstance(element, Located)]
    solver, preconditioners = solver_of(recipe), materialiser.preconditioners.of(recipe)
    located = locate_together(lm, requests, alone, recipe, preconditioners)
    base = materialiser.base
    terms = {
        layer: solver.terms(stack(located, layer, base), preconditioners[layer])
        for layer in recipe.layers
    }
    return [
        Patch(Delta({layer: terms[layer][index] for layer in recipe.layers}), edit.figures)
        for index, edit in enumerate(located)
    ]
