"""Deltas in the weights of a loaded model, or beside them; the names of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.models.language_model import LanguageModel
from editvc.models.loading import quiet_loading


def apply_delta(lm: LanguageModel, delta: Delta, dtype: torch.dtype | None = None) -> None:
    """Add a delta to the model's weights, in place: in float64, rounded once.

    ``dtype`` is what they are rounded to, the weights' own by default. A float32 copy of a float16
    base, rounded to float16, has the very weights that an export of it has. Raises
    :class:`editvc.models.language_model.SpreadModelError`.
    """
    _ = lm.device  # refuses a model that is spread, before any weight has changed
    with torch.no_grad():
        for weight, factored, transposed in _changed(lm, delta):
            dense = factored.dense()
            added = dense.T if transposed else dense.reshape(weight.shape)
            weight.copy_(plus(weight.cpu(), added).to(dtype or weight.dtype))


def plus(weight: Tensor, added: Tensor) -> Tensor:
    """``weight + added`` in float64. Where nothing is added, the very number: -0.0 stays -0.0."""
    wide = weight.double()
    return torch.where(added == 0, wide, wide + added)


def _changed(lm: LanguageModel, delta: Delta) -> Iterator[tuple[Parameter, Factored, bool]]:
    """Every parameter that a delta changes, the change, and whether it is kept transposed."""
    for layer, factored in delta.layers.items():
        yield lm.weight(layer), factored, lm.architecture.transposed
    for name, factored in delta.weights.items():
        yield lm.model.get_parameter(name), factored, False


@contextmanager
def edited(
    lm: LanguageModel, delta: Delta, dtype: torch.dtype | None = None
) -> Iterator[LanguageModel]:
    """The model with a delta in its weights; the very same weights as before on the way out."""
    weights = [weight for weight, _, _ in _changed(lm, delta)]
    kept = [weight.detach().clone() for weight in weights]
    try:
        apply_delta(lm, delta, dtype)
        yield lm
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def delta_hook(factored: Factored, lm: LanguageModel) -> Callable[..., Tensor]:
    """A forward hook that adds ``left @ right @ input`` to a down projection's output.

    What :func:`apply_delta` does to the weight of one layer, with no weight touched.
    """
    weight = next(lm.model.parameters())
    left = factored.left.to(weight.device, weight.dtype)  # (u, r)
    right = factored.right.to(weight.device, weight.dtype)  # (r, v)

    def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        added: Tensor = output + (args[0] @ right.T) @ left.T  # (..., u)
        return added

    return hook


def parameters_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Every parameter of the model in a folder, with all its names: more than one where tied.

    The key is the first of the names. No weight is read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet_loading(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {same[0]: tuple(same) for same in names.values()}
