"""What the MLPs of some layers take and give while a text runs through, edits and all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from editvc.models.language_model import LanguageModel


@dataclass(slots=True)
class Observation:
    """One layer, of t tokens, float64 on the CPU.

    ``keys`` (t, v) go into the down projection and ``outputs`` (t, u) come out of its weight,
    before hooks add to them. ``inputs`` (t, u) go into the MLP, where the layer is asked for them.
    """

    keys: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    outputs: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    inputs: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


def observe(
    lm: LanguageModel, ids: Sequence[int], layers: Sequence[int], with_inputs: Sequence[int] = ()
) -> dict[int, Observation]:
    """Run one row of tokens, and note what passes; ``with_inputs`` are layers among ``layers``.

    Raises ``NoUpProjError`` for inputs where the architecture does not say where an MLP begins.
    """
    seen = {layer: Observation() for layer in layers}

    def through(layer: int) -> Callable[..., None]:
        def note(_module: Any, args: tuple[Any, ...], output: Tensor) -> None:
            seen[layer].keys = _rows(args[0], len(ids))
            seen[layer].outputs = _rows(output, len(ids))

        return note

    def before(layer: int) -> Callable[..., None]:
        def note(_module: Any, args: tuple[Any, ...]) -> None:
            seen[layer].inputs = _rows(args[0], len(ids))

        return note

    with lm.eval_mode() as handles, torch.no_grad():
        for layer in layers:
            # First of all hooks: what neurons and codebooks do to the output comes after.
            hook = lm.down_proj(layer).register_forward_hook(through(layer), prepend=True)
            handles.append(hook)
        for layer in with_inputs:
            handles.append(lm.up_proj(layer).register_forward_pre_hook(before(layer)))
        lm.body(input_ids=torch.tensor([list(ids)], device=lm.device), use_cache=False)
    return seen


def _rows(tensor: Tensor, count: int) -> Tensor:
    """Some MLPs are handed all tokens in one dimension."""
    return tensor.detach().reshape(count, -1).double().cpu()
