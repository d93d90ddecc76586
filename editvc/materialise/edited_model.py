"""The model of a revision, at work: its weights, and its codebooks beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from editvc.algebra.codebook import Codebook
from editvc.core.history import Tree
from editvc.editing.grace import reread
from editvc.models.codebook_hooks import answering, attach
from editvc.models.loading import apply_delta, load
from editvc.models.loading import edited as with_delta

if TYPE_CHECKING:
    from editvc.repo import Repo


@contextmanager
def edited(repo: Repo, tree: Tree) -> Iterator[tuple[Any, Any]]:
    """The process's model with the weights and codebooks of ``tree``; then the base again."""
    model, tokenizer = repo.base_model()
    maker = repo.materialiser
    with (
        with_delta(model, maker.architecture, maker.delta(tree), maker.dtype),
        answering(model, _codebooks(repo, tree, model, tokenizer)),
    ):
        yield model, tokenizer


def load_model(repo: Repo, tree: Tree) -> Any:
    """A fresh model with the weights of ``tree``, and its codebooks attached for good."""
    maker = repo.materialiser
    model, tokenizer = load(maker.folder, block=maker.base.architecture)
    apply_delta(model, maker.architecture, maker.delta(tree), maker.dtype)
    attach(model, _codebooks(repo, tree, model, tokenizer))
    return model


def _codebooks(repo: Repo, tree: Tree, model: Any, tokenizer: Any) -> list[Codebook]:
    """The codebooks of a tree, for a model that has its weights.

    Stored keys are those of the base, or of HEAD when a sequential commit was made. On any other
    weights they are read again from the same prompts: else each edit of a weight would move the
    prompts of the codebook's facts away from their keys. A function of the tree, not its history.
    """
    elements = repo.materialiser.elements
    held = elements.in_codebooks(tree)
    moved = not repo.materialiser.delta(tree).is_empty
    if held and (moved or any(map(elements.anchored, held))):
        facts = [repo.repository.read_fact(entry.fact) for entry in held]
        requests = [fact.request for fact in facts]
        seen = reread(model, tokenizer, requests, list(held.values()))
        held = dict(zip(held, seen, strict=True))
    return elements.codebooks(held)
