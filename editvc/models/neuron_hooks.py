"""Neurons at work in a model: forward hooks that add what they give, and change no weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from editvc.algebra.neurons import Neurons
from editvc.models.language_model import LanguageModel


def attach(lm: LanguageModel, neurons: Mapping[int, Neurons]) -> list[RemovableHandle]:
    """Let the MLPs of these layers have more neurons from now on; ``remove()`` ends it.

    What an MLP with wider matrices gives, but for the order of its sums. No weight changes, so
    what ``save_pretrained`` writes knows nothing of it. Raises ``NoUpProjError``.
    """
    handles = []
    for layer, more in neurons.items():
        note, add = _hooks(lm, more)
        handles.append(lm.up_proj(layer).register_forward_pre_hook(note))
        handles.append(lm.down_proj(layer).register_forward_hook(add))
    return handles


@contextmanager
def widened(lm: LanguageModel, neurons: Mapping[int, Neurons]) -> Iterator[LanguageModel]:
    """The model with more neurons; without them again on the way out."""
    handles = attach(lm, neurons)
    try:
        yield lm
    finally:
        for handle in handles:
            handle.remove()


def _hooks(
    lm: LanguageModel, neurons: Neurons
) -> tuple[Callable[..., None], Callable[..., Tensor]]:
    """What notes the MLP's input, and what adds to its output."""
    activation = lm.activation
    placed: dict[torch.device, Neurons] = {}  # where the model has put its weights
    seen: dict[str, Tensor] = {}  # only the last: a pass may be stopped between the two

    def note(_module: Any, args: tuple[Any, ...]) -> None:
        seen["x"] = args[0]

    def add(_module: Any, _args: Any, output: Tensor) -> Tensor:
        x = seen.pop("x")
        if x.device not in placed:
            placed[x.device] = neurons.to(x.device, x.dtype)
        return output + placed[x.device].contribution(x, activation).view(output.shape)

    return note, add
