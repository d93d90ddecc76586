"""The structure of a model: what its config and its modules show, before anything is measured."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import Module

from editvc.errors import EditvcError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

INNER_SIZES = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
"""What configs call v, the inner width of the MLP."""
_TOKENS = 5


class StructureError(EditvcError):
    """A model whose structure does not show one block, or contradicts the one that was given."""

    def __init__(self, model_type: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"model type '{model_type}': {problem}", hint=hint)
        self.model_type = model_type


def config_in(folder: Path, named: str) -> PretrainedConfig:
    """The transformers config of a folder, whose model type is ``named`` in errors.

    Runs no code of the folder. Raises :class:`StructureError`.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a family's own checks raise whatever they like
        raise StructureError(
            named,
            f"transformers cannot read its config: {_first_line(error)}",
            hint="A newer transformers may know it. Code from a model's folder is never run.",
        ) from error


def skeleton(config: PretrainedConfig) -> PreTrainedModel:
    """The causal language model of a config on the ``meta`` device: shapes, but no weights."""
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(deepcopy(config), trust_remote_code=False)
        return model.eval()
    except Exception as error:  # so does its model's constructor
        raise StructureError(
            config.model_type,
            f"transformers builds no causal language model of it: {_first_line(error)}",
            hint="editvc edits decoders that AutoModelForCausalLM loads.",
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def inner_size(config: PretrainedConfig) -> int:
    """v, the inner width of the MLP, under whichever name the config has it."""
    for name in INNER_SIZES:
        if value := getattr(config, name, None):
            return int(value)
    return 4 * int(config.hidden_size)


def in_attention(block: Module) -> set[str]:
    """Paths of a block's attention modules, and of all inside them."""
    outer = [
        path for path, part in block.named_modules() if "attention" in type(part).__name__.lower()
    ]
    return {
        path
        for path, _ in block.named_modules()
        if any(path == one or path.startswith(f"{one}.") for one in outer)
    }


def linear_maps(block: Module) -> dict[str, tuple[int, int]]:
    """Output and input size of a block's linear maps outside attention, by path."""
    attention = in_attention(block)
    return {
        path: shape
        for path, part in block.named_modules()
        if path not in attention and (shape := features(part)) is not None
    }


def features(module: Module) -> tuple[int, int] | None:
    """Output and input size of a linear map, None of anything else."""
    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    if is_conv1d(module):
        inner, out = module.get_parameter("weight").shape
        return int(out), int(inner)
    return None


def is_conv1d(module: Module) -> bool:
    """Whether a module is transformers' Conv1D, which stores (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def tokens(device: torch.device) -> dict[str, Tensor]:
    """Some tokens, as a model takes them."""
    ids = torch.arange(_TOKENS, device=device)[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
