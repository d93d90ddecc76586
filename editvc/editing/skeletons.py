"""Models made of a config alone: without weights, or narrow and random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editvc.editing.devices import device_of
from editvc.editing.targets import inner_size
from editvc.errors import EditvcError

_TOKENS = 5


class StructureError(EditvcError):
    """A model whose structure does not show one block, or contradicts the one that was given."""

    def __init__(self, model_type: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"model type '{model_type}': {problem}", hint=hint)
        self.model_type = model_type


def config_in(folder: Path, named: str) -> Any:
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


def skeleton(config: Any) -> Any:
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


def narrow(config: Any) -> Any | None:
    """A random model like the config's but with few heads and a small vocabulary, or None.

    Always the same one; the global random generator is left as it was.
    """
    from transformers import AutoModelForCausalLM

    try:
        with _own_seed():
            model = AutoModelForCausalLM.from_config(_narrowed(config), trust_remote_code=False)
        model = model.float().eval().requires_grad_(False)
        with torch.no_grad():
            model(**tokens(model))
    except Exception:  # whatever a family demands of its sizes
        return None
    return model


def tokens(model: Any) -> dict[str, Tensor]:
    """A short row of tokens that a model can be called with."""
    ids = torch.arange(_TOKENS, device=device_of(model))[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _narrowed(config: Any) -> Any:
    """Heads keep their size, since rotary embeddings may be cut to it; blocks keep their number,
    since a config may describe each.
    """
    heads, hidden = config.num_attention_heads, config.hidden_size
    grouped = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or hidden // heads
    few = max(1, heads // grouped)
    sizes = {hidden: few * size, inner_size(config): 2 * few * size, config.vocab_size: 64}
    small = deepcopy(config)
    for name, value in config.to_dict().items():
        if type(value) is int and value in sizes:
            setattr(small, name, sizes[value])
        elif name.endswith("token_id") and value is not None:
            setattr(small, name, 0)
    small.num_attention_heads = few
    if hasattr(config, "num_key_value_heads"):
        small.num_key_value_heads = 1
    return small


@contextmanager
def _own_seed() -> Iterator[None]:
    """Random weights that are always the same; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
