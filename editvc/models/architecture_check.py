"""Check a block against a model: what no name or shape tells of a family is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from editvc.core.edit_site import EditSite
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.mlp_structure import check_mlp
from editvc.models.structure import StructureError, features, is_conv1d, tokens

TOLERANCE = 1e-3


def check_block(lm: LanguageModel) -> None:
    """Raise :class:`StructureError` unless a loaded model does what its architecture says.

    The paths lead to modules, the down projection is stored as said and gives the hidden size,
    what it gives arrives as said behind every block, the MLP begins as said, attention's output
    moves its own token alone, and the head makes the model's logits of what the final norm gives.
    """
    architecture = lm.architecture
    name = architecture.model_type
    try:
        modules = [lm.down_proj(layer) for layer in range(lm.depth)]
        _ = lm.final_norm
        gain = lm.gain(EditSite.BLOCK_OUTPUT)
        attention = lm.attention_output(0) if architecture.attention else None
    except (AttributeError, TypeError) as error:
        raise StructureError(name, f"the block does not fit the model: {error}") from error
    shape = features(modules[0])
    if is_conv1d(modules[0]) != architecture.transposed or shape is None:
        kind = type(modules[0]).__name__
        raise StructureError(name, f"{architecture.down_proj} is a {kind}: transposed is wrong")
    if shape[0] != lm.hidden_size:
        raise StructureError(
            name, f"{architecture.down_proj} gives {shape[0]} numbers, not the hidden state's"
        )
    expected = None if architecture.normed else gain
    for layer, measured in enumerate(arrivals(lm)):
        if not same(measured, expected):
            raise StructureError(
                name,
                f"what the down projection of layer {layer} gives arrives {in_words(measured)} "
                f"behind its block, and not {in_words(expected)} as the block says",
                hint="`normed` and `factor` say how it arrives.",
            )
    if architecture.up_proj is not None:
        check_mlp(lm)
    if attention is not None and architecture.attention is not None:
        _check_attention(lm, attention, architecture.attention)
    _check_head(lm)


def arrivals(lm: LanguageModel) -> list[float | None]:
    """How much of what each down projection gives arrives behind its block; None through a norm.

    Measured by running every block a second time, with a vector added to that output at the first
    token and an eighth of it at the second: a norm does not answer in proportion. Raises
    :class:`StructureError` where that moves other tokens: attention lies between.
    """
    gains: list[float | None] = []

    def measuring(down: Module) -> Callable[..., None]:
        def measure(block: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            plain = first_tensor(output)
            vector = torch.linspace(-1, 1, plain.shape[-1], device=plain.device, dtype=plain.dtype)
            added = torch.stack([vector, vector / 8]) * plain.norm(dim=-1).mean()
            handle = down.register_forward_hook(_adding(added))
            try:
                moved = (first_tensor(block.forward(*args, **kwargs)) - plain).double()[0]
            finally:
                handle.remove()
            if moved[2:].norm() > TOLERANCE * moved[:2].norm():
                raise StructureError(
                    lm.architecture.model_type,
                    f"what {lm.architecture.down_proj} gives at a token moves others: "
                    "attention stands behind it",
                )
            gains.append(_gain(moved[:2], added.double()))

        return measure

    with lm.eval_mode() as handles, torch.no_grad():
        for layer in range(lm.depth):
            hook = measuring(lm.down_proj(layer))
            handles.append(lm.block(layer).register_forward_hook(hook, with_kwargs=True))
        lm.model(**tokens(lm.device), use_cache=False)
    return gains


def _adding(vectors: Tensor) -> Callable[..., Tensor]:
    def hook(_module: Any, _args: Any, output: Tensor) -> Tensor:
        changed = output.clone(memory_format=torch.contiguous_format)
        # Some MLPs are handed all tokens in one dimension.
        changed.view(-1, output.shape[-1])[: len(vectors)] += vectors
        return changed

    return hook


def _gain(moved: Tensor, added: Tensor) -> float | None:
    """The factor g of ``moved = g added``, (tokens, u) both; None where there is none."""
    gain = float((moved * added).sum() / (added * added).sum())
    off = float((moved - gain * added).norm())
    return gain if off <= TOLERANCE * abs(gain) * float(added.norm()) else None


def same(gain: float | None, other: float | None) -> bool:
    """Whether two arrivals are one."""
    if gain is None or other is None:
        return gain is other
    return abs(gain - other) <= TOLERANCE * abs(other)


def in_words(gain: float | None) -> str:
    """An arrival in words."""
    return "through a norm" if gain is None else f"{gain:.4g}-fold"


def _check_attention(lm: LanguageModel, output: Module, path: str) -> None:
    name, shape = lm.architecture.model_type, features(output)
    if shape is None or shape[0] != lm.hidden_size:
        raise StructureError(
            name, f"{path} is no linear map that gives the hidden size: attention is wrong"
        )
    of_attention = replace(lm, architecture=replace(lm.architecture, down_proj=path))
    if 0.0 in arrivals(of_attention):
        raise StructureError(name, f"what {path} gives arrives nowhere: attention is wrong")


def _check_head(lm: LanguageModel) -> None:
    hidden: list[Tensor] = []
    with lm.eval_mode() as handles, torch.no_grad():
        handles.append(
            lm.block(lm.depth - 1).register_forward_hook(
                lambda _module, _args, output: hidden.append(first_tensor(output))
            )
        )
        expected = lm.model(**tokens(lm.device), use_cache=False).logits.float()
        try:
            logits = lm.logits(lm.final_norm(hidden[-1])).float()
            off = float((logits - expected).norm() / expected.norm())
        except RuntimeError:  # what is named as norm takes no hidden state, or gives another size
            off = torch.inf
    if not off <= TOLERANCE:
        raise StructureError(
            lm.architecture.model_type,
            f"its logits are not the head's on what {lm.architecture.final_norm} gives",
            hint="Its head does more than editvc can follow; this family cannot be edited.",
        )
