"""From facts to elements of the set: what each method makes of requests, on a given model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from editvc.algebra.delta import Delta
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Request
from editvc.core.methods.patch_recipes import AnyRecipe, Mend
from editvc.core.methods.recipe import Recipe
from editvc.editing.fine_tuning import fine_tune
from editvc.editing.grace import find_entries
from editvc.editing.knowledge_neurons import knowledge_neurons
from editvc.editing.locate import locate
from editvc.editing.mend import edit as mend
from editvc.materialise.elements import Element
from editvc.materialise.solutions import stack
from editvc.porcelain.train import editor_of

if TYPE_CHECKING:
    from editvc.repo import Repo

Made = Element
Maker = Callable[[Any, Any, Any, Sequence[Request], Any], Sequence[Made]]
"""Called with the repository, a model, its tokenizer, the requests and the recipe."""


def make(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: AnyRecipe
) -> Sequence[Made]:
    """One element for every request, each as if it were the only one, on ``model`` as it is."""
    maker: Maker = MAKERS.get(recipe.method, _located)
    return maker(repo, model, tokenizer, requests, recipe)


def make_in_sequence(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: AnyRecipe
) -> Sequence[Made]:
    """Elements for an edited ``model``, as papers measure edits one after the other: patches.

    A located method's solution of the requests alone, blind to all that was edited before, is a sum
    of one term an edit: ``sum_i r_i g_i^T`` with ``G = (ridge I + Q^T Q)^-1 Q^T F^-1``. Every fact
    gets its own, so each can be taken out again. Codebook entries are what they are on any model.
    """
    made = make(repo, model, tokenizer, requests, recipe)
    if not isinstance(recipe, Recipe):
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


def _located(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: Recipe
) -> Sequence[Located]:
    if repo.progress is not None:
        repo.progress("targets", 0, len(requests))  # the first batch may take a minute
    maker = repo.materialiser
    return locate(
        model, tokenizer, requests, recipe, maker.guards.of(recipe),
        shaping=maker.statistics.shaping(recipe), progress=repo.progress,
    )  # fmt: skip


def _by(function: Callable[..., Sequence[Element]]) -> Maker:
    """The maker of a method that needs nothing of the repository but who hears of progress."""

    def maker(
        repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: Any
    ) -> Sequence[Element]:
        return function(model, tokenizer, requests, recipe, progress=repo.progress)

    return maker


def _mend(
    repo: Repo, model: Any, tokenizer: Any, requests: Sequence[Request], recipe: Mend
) -> Sequence[Patch]:
    editor = editor_of(repo, recipe)
    return mend(model, tokenizer, requests, recipe, editor, progress=repo.progress)


MAKERS: Mapping[str, Maker] = {
    "ft": _by(fine_tune),
    "ft-c": _by(fine_tune),
    "kn": _by(knowledge_neurons),
    "mend": _mend,
    "grace": _by(find_entries),
}
"""What makes patches and codebook entries; every method without a row here is a located one."""
