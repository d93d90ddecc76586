"""The model of a tree, at work: its weights, its neurons, and its codebooks beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from editvc.algebra.codebook import Codebook
from editvc.algebra.codebook_entry import CodebookEntry
from editvc.core.compute import Compute
from editvc.core.history import Entry, Tree
from editvc.editing.grace import reread
from editvc.materialise.materialiser import Materialiser
from editvc.models import neuron_hooks, weights
from editvc.models.codebook_hooks import answering, attach
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load


@contextmanager
def edited(materialiser: Materialiser, base: LanguageModel, tree: Tree) -> Iterator[LanguageModel]:
    """The base model with weights, neurons and codebooks of ``tree``; then the base again."""
    with (
        without_codebooks(materialiser, base, tree),
        answering(base, _codebooks(materialiser, tree, base)),
    ):
        yield base


@contextmanager
def without_codebooks(
    materialiser: Materialiser, base: LanguageModel, tree: Tree
) -> Iterator[LanguageModel]:
    """The base model with weights and neurons of ``tree``; then the base again."""
    with (
        weights.edited(base, materialiser.delta(tree), materialiser.dtype),
        neuron_hooks.widened(base, materialiser.neurons(tree)),
    ):
        yield base


def load_edited(materialiser: Materialiser, tree: Tree, compute: Compute) -> LanguageModel:
    """A fresh model with the weights of ``tree``, its neurons and codebooks attached for good."""
    lm = load(materialiser.files, compute)
    weights.apply_delta(lm, materialiser.delta(tree), materialiser.dtype)
    neuron_hooks.attach(lm, materialiser.neurons(tree))
    attach(lm, _codebooks(materialiser, tree, lm))
    return lm


def _codebooks(materialiser: Materialiser, tree: Tree, lm: LanguageModel) -> list[Codebook]:
    """The codebooks of a tree, for a model that has its weights."""
    return materialiser.elements.codebooks(codebook_entries(materialiser, tree, lm))


def codebook_entries(
    materialiser: Materialiser, tree: Tree, lm: LanguageModel
) -> dict[Entry, CodebookEntry]:
    """What the codebooks of a tree are made of, for a model that has its weights.

    Stored keys are those of the base, or of HEAD when a sequential commit was made. On any other
    weights they are read again from the same prompts: else each edit of a weight would move the
    prompts of the codebook's facts away from their keys. A function of the tree, not its history.
    """
    elements = materialiser.elements
    entries = elements.in_codebooks(tree)
    moved = not materialiser.delta(tree).is_empty
    if entries and (moved or any(map(elements.anchored, entries))):
        requests = [materialiser.repository.read_fact(entry.fact).request for entry in entries]
        read_again = reread(lm, requests, list(entries.values()))
        entries = dict(zip(entries, read_again, strict=True))
    return entries
