"""Codebooks at work in a model: forward hooks that replace outputs, and change no weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from editvc.algebra.codebook import Codebook
from editvc.models.language_model import LanguageModel


def attach(lm: LanguageModel, codebooks: Sequence[Codebook]) -> list[RemovableHandle]:
    """Let a model answer through codebooks from now on; the handles' ``remove()`` ends it.

    The hooks are on the down projections of the codebooks' layers, one a layer. No weight changes,
    so what ``save_pretrained`` writes knows nothing of them.
    """
    return [
        lm.down_proj(codebook.layer).register_forward_hook(_replacing(codebook))
        for codebook in codebooks
    ]


@contextmanager
def answering(lm: LanguageModel, codebooks: Sequence[Codebook]) -> Iterator[LanguageModel]:
    """The model with codebooks attached; without them again on the way out."""
    handles = attach(lm, codebooks)
    try:
        yield lm
    finally:
        for handle in handles:
            handle.remove()


def _replacing(codebook: Codebook) -> Callable[..., Tensor | None]:
    placed = [codebook]  # moves to the model's device once

    def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if placed[0].keys.device != output.device:
            placed[0] = placed[0].to(output.device)
        codebook = placed[0]
        queries = args[0].detach().flatten(0, -2).to(codebook.keys.dtype)
        nearest, within = codebook.find(queries)
        if not within.any():
            return None
        values = codebook.values[nearest].to(output.dtype)
        return torch.where(within[:, None], values, output.flatten(0, -2)).view(output.shape)

    return hook
