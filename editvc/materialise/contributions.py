"""What each element of a tree adds to the outputs of MLPs while a text runs through.

Every edit ends in a vector that is added to an MLP's output at a token. A located one adds
``r_i a_i(k)``, with ``a(k) = (I + G)^-1 Q^T F^-1 k``: its term of the solution, applied to the key
k that the layer sees. A patch adds ``D k``; a gated edit what its neurons give; a codebook's entry
what is missing from what was there to its value. A restraint of the whole adds the difference that
it makes. The sum is all that the model of a tree adds there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.algebra.codebook_entry import CodebookEntry
from editvc.algebra.neurons import Neurons
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId
from editvc.materialise.edited_model import codebook_entries, without_codebooks
from editvc.materialise.materialiser import Materialiser
from editvc.models.codebook_hooks import answering
from editvc.models.language_model import LanguageModel
from editvc.models.observation import Observation, observe

RESTRAINT = "restraint"

Source = Entry | ObjectId | str
"""An edit, a patch that stands for no fact, or :data:`RESTRAINT`."""


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """What ``source`` adds to the MLP of ``layer``: (t, u) float64, a row a token of the text."""

    source: Source
    layer: int
    added: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A text in the model of a tree: what passed, and what codebooks and neurons were at work."""

    observations: Mapping[int, Observation]
    entries: Mapping[Entry, CodebookEntry]
    neurons: tuple[tuple[Entry, int, Neurons], ...]


def run(materialiser: Materialiser, base: LanguageModel, tree: Tree, ids: list[int]) -> Run:
    """Let the model of a tree read a text."""
    neurons = tuple(
        (entry, layer, one.rounded(materialiser.dtype))
        for entry, layer, one in materialiser.gates.each(tree)
    )
    gated = {layer for _, layer, _ in neurons}
    with without_codebooks(materialiser, base, tree) as lm:
        entries = codebook_entries(materialiser, tree, lm)
        books = materialiser.elements.codebooks(entries)
        layers = {*materialiser.delta(tree).layers, *gated, *(book.layer for book in books)}
        with answering(lm, books):
            seen = observe(lm, ids, sorted(layers), sorted(gated))
    return Run(seen, entries, neurons)


def contributions(
    materialiser: Materialiser, base: LanguageModel, tree: Tree, text: Run
) -> Iterator[Contribution]:
    """All contributions, layer by layer; those of one layer add up to the whole there."""
    for layer, seen in text.observations.items():
        for source, added in _of_weights(materialiser, tree, layer, seen.keys):
            yield Contribution(source, layer, added)
        before = seen.outputs.clone()  # what a codebook finds there: weights, and then neurons
        for entry, place, neurons in text.neurons:
            if place == layer:
                added = neurons.contribution(seen.inputs, base.activation)
                before += added
                yield Contribution(entry, layer, added)
        for source, added in _of_codebook(materialiser, text, layer, seen.keys, before):
            yield Contribution(source, layer, added)


def _of_weights(
    materialiser: Materialiser, tree: Tree, layer: int, keys: Tensor
) -> Iterator[tuple[Source, Tensor]]:
    """What each part of the delta adds for keys (t, v), and then what its restraint does."""
    delta = materialiser.delta(tree).layers.get(layer)
    if delta is None:
        return
    rest = (delta @ keys.T).T
    for source, added in _linear(materialiser, tree, layer, keys):
        rest = rest - added
        yield source, added
    if tree.restraint is not None:
        yield RESTRAINT, rest


def _linear(
    materialiser: Materialiser, tree: Tree, layer: int, keys: Tensor
) -> Iterator[tuple[Source, Tensor]]:
    """What located edits and patches add for keys (t, v): (t, u) each."""
    solutions = materialiser.solutions
    for recipe, entries in materialiser.elements.by_recipe(_entries(materialiser, tree)):
        if layer in recipe.layers:
            edits = solutions.stacked(recipe, entries)[layer]
            against = materialiser.preconditioners.of_layer(recipe, layer)
            for entry, term in zip(entries, solver_of(recipe).terms(edits, against), strict=True):
                yield entry, (term @ keys.T).T
    patches: list[tuple[Source, Patch]] = [
        (entry, one)
        for entry in _entries(materialiser, tree)
        if isinstance(one := materialiser.elements.element(entry.element)[1], Patch)
    ]
    store = materialiser.repository.store
    patches += [(patch, Patch.from_bytes(store.get(patch))) for patch in tree.patches]
    for source, patch in patches:
        if layer in patch.delta.layers:
            yield source, (patch.delta.layers[layer] @ keys.T).T


def _entries(materialiser: Materialiser, tree: Tree) -> Iterator[Entry]:
    return materialiser.repository.edits_of(tree).entries()


def _of_codebook(
    materialiser: Materialiser, text: Run, layer: int, keys: Tensor, before: Tensor
) -> Iterator[tuple[Source, Tensor]]:
    """Of the entries that answer: from what is there ``before`` them (t, u) to their values."""
    here = {entry: one for entry, one in text.entries.items() if one.layer == layer}
    if not here:
        return
    (book,) = materialiser.elements.codebooks(here)
    nearest, within = book.find(keys.to(book.keys.dtype))
    missing = book.values[nearest].double() - before
    for entry, one in here.items():
        own = (book.keys[:, None] == one.keys).all(dim=2).any(dim=1)  # (m,): which keys it made
        answers = own[nearest] & within
        if bool(answers.any()):
            yield entry, torch.where(answers[:, None], missing, 0.0)
