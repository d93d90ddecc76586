"""Codebooks at work in a model: forward hooks that replace outputs, and change no weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.codebook import Codebook
from editvc.models.architectures import architecture_in


def attach(model: Any, codebooks: Sequence[Codebook]) -> list[Any]:
    """Let a model answer through codebooks from now on; the handles' ``remove()`` ends it.

    The hooks are on the down projections of the codebooks' layers, one a layer. No weight changes,
    so what ``save_pretrained`` writes knows nothing of them.
    """
    architecture = architecture_in(model)
    return [
        architecture.module(model, codebook.layer).register_forward_hook(_replacing(codebook))
        for codebook in codebooks
    ]


@contextmanager
def answering(model: Any, codebooks: Sequence[Codebook]) -> Iterator[Any]:
    """The model with codebooks attached; without them again on the way out."""
    handles = attach(model, codebooks)
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _replacing(codebook: Codebook) -> Callable[..., Tensor | None]:
    held = [codebook]

    def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if held[0].keys.device != output.device:
            held[0] = held[0].to(output.device)
        codebook = held[0]
        queries = args[0].detach().flatten(0, -2).to(codebook.keys.dtype)
        nearest, within = codebook.find(queries)
        if not within.any():
            return None
        given = codebook.values[nearest].to(output.dtype)
        return torch.where(within[:, None], given, output.flatten(0, -2)).view(output.shape)

    return hook
