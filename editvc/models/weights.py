"""Deltas in the weights of a loaded model, or beside them; the names of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.models.language_model import LanguageModel
from editvc.models.loading import quiet_loading
from editvc.models.offload import read_weight, replace_weight, replaced_weight


def apply_delta(lm: LanguageModel, delta: Delta, dtype: torch.dtype | None = None) -> None:
    """Add a delta to the model's weights, in place: in float64, rounded once.

    ``dtype`` is what they are rounded to, the weights' own by default. A float32 copy of a float16
    base, rounded to float16, has the very weights that an export of it has. Offloaded weights stay
    as they are kept, and other ones are brought (:mod:`editvc.models.offload`).
    """
    for module, name, changed in _changed(lm, delta, dtype):
        replace_weight(module, name, changed)


def plus(weight: Tensor, added: Tensor) -> Tensor:
    """``weight + added`` in float64. Where nothing is added, the very number: -0.0 stays -0.0."""
    wide = weight.double()
    return torch.where(added == 0, wide, wide + added)


def _changed(
    lm: LanguageModel, delta: Delta, dtype: torch.dtype | None
) -> Iterator[tuple[Module, str, Tensor]]:
    """Every weight that a delta changes, by module and name, and what it is with the delta."""
    named = [
        (lm.architecture.weight_name(layer), factored, lm.architecture.transposed)
        for layer, factored in delta.layers.items()
    ]
    named += [(name, factored, False) for name, factored in delta.weights.items()]
    for path, factored, transposed in named:
        inside, _, name = path.rpartition(".")
        module = lm.model.get_submodule(inside)
        weight, dense = read_weight(module, name), factored.dense()
        added = dense.T if transposed else dense.reshape(weight.shape)
        yield module, name, plus(weight.cpu(), added).to(dtype or weight.dtype)


@contextmanager
def edited(
    lm: LanguageModel, delta: Delta, dtype: torch.dtype | None = None
) -> Iterator[LanguageModel]:
    """The model with a delta in its weights; the very same weights as before on the way out."""
    with ExitStack() as stack:
        for module, name, changed in _changed(lm, delta, dtype):
            stack.enter_context(replaced_weight(module, name, changed))
        yield lm


def delta_hook(factored: Factored) -> Callable[..., Tensor]:
    """A forward hook that adds ``left @ right @ input`` to a down projection's output.

    What :func:`apply_delta` does to the weight of one layer, with no weight touched.
    """

    def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        left, right = factored.left.to(output), factored.right.to(output)  # (u, r), (r, v)
        added: Tensor = output + (args[0].to(output) @ right.T) @ left.T  # (..., u)
        return added

    return hook


def parameters_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Every parameter of the model in a folder, with all its names: more than one where tied.

    The key is the first of the names. No weight is read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet_loading(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {same[0]: tuple(same) for same in names.values()}
