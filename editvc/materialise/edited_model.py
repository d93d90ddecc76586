"""The model of a tree, at work: its weights, and its codebooks beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from editvc.algebra.codebook import Codebook
from editvc.core.history import Tree
from editvc.editing.grace import reread
from editvc.materialise.materialiser import Materialiser
from editvc.models.codebook_hooks import answering, attach
from editvc.models.loading import apply_delta, load
from editvc.models.loading import edited as with_delta


@contextmanager
def edited(
    maker: Materialiser, base_model: tuple[Any, Any], tree: Tree
) -> Iterator[tuple[Any, Any]]:
    """The base model with the weights and codebooks of ``tree``; then the base again."""
    model, tokenizer = base_model
    with (
        with_delta(model, maker.architecture, maker.delta(tree), maker.dtype),
        answering(model, _codebooks(maker, tree, model, tokenizer)),
    ):
        yield model, tokenizer


def load_edited(maker: Materialiser, tree: Tree) -> Any:
    """A fresh model with the weights of ``tree``, and its codebooks attached for good."""
    model, tokenizer = load(maker.folder, block=maker.base.architecture)
    apply_delta(model, maker.architecture, maker.delta(tree), maker.dtype)
    attach(model, _codebooks(maker, tree, model, tokenizer))
    return model


def _codebooks(maker: Materialiser, tree: Tree, model: Any, tokenizer: Any) -> list[Codebook]:
    """The codebooks of a tree, for a model that has its weights.

    Stored keys are those of the base, or of HEAD when a sequential commit was made. On any other
    weights they are read again from the same prompts: else each edit of a weight would move the
    prompts of the codebook's facts away from their keys. A function of the tree, not its history.
    """
    elements = maker.elements
    entries = elements.in_codebooks(tree)
    moved = not maker.delta(tree).is_empty
    if entries and (moved or any(map(elements.anchored, entries))):
        requests = [maker.repository.read_fact(entry.fact).request for entry in entries]
        read_again = reread(model, tokenizer, requests, list(entries.values()))
        entries = dict(zip(entries, read_again, strict=True))
    return elements.codebooks(entries)
