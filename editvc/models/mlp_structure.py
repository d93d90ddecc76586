"""How an MLP begins: the matrices before the down projection, and what stands between.

What enters the down projection is ``act(up(x))``, or ``act(gate(x)) * up(x)`` where the MLP is
gated. No name and no shape tells the gate from the other matrix, and the activation that a config
names need not be the one that runs. So it is measured: random numbers are put in the place of what
the matrices give, and what then enters the down projection is compared with every form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editvc.models.architectures import Architecture
from editvc.models.language_model import LanguageModel
from editvc.models.structure import (
    INNER_SIZES,
    StructureError,
    features,
    is_conv1d,
    linear_maps,
    skeleton,
    tokens,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_UNNAMED = ("silu", "gelu", "gelu_pytorch_tanh", "relu", "relu2")
"""Activations, as transformers calls them, that a family may have without naming one."""
_ROUNDINGS = 8
"""Of one number on its way through an activation written as a formula, and the product behind."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one MLP did: what went into each map and what was put in the place of its output, by
    path, and what then entered the down projection; (tokens, features) all.
    """

    taken: dict[str, Tensor]
    given: dict[str, Tensor]
    keys: list[Tensor]


def find_mlp(lm: LanguageModel) -> Architecture:
    """The architecture of a model with ``up_proj``, ``gate_proj``, ``activation`` and ``width``.

    All four are None where no form fits: such an MLP cannot be given more neurons. ``width`` alone
    is None where no number of the config makes the MLPs wider.
    """
    none = replace(lm.architecture, up_proj=None, gate_proj=None, activation=None, width=None)
    found = _fitting(replace(lm, architecture=none))
    if found is None:
        return none
    widths = (name for name in INNER_SIZES if _widens(lm, name))
    return replace(found, width=next(widths, None))


def check_mlp(lm: LanguageModel) -> None:
    """Raise :class:`StructureError` unless the MLPs of a loaded model begin as its block says."""
    block, name = lm.architecture, lm.architecture.model_type
    for key, path in {"gate_proj": block.gate_proj, "up_proj": block.up_proj}.items():
        if path is not None:
            _check_map(lm, key, path)
    try:
        fits = _fits(lm, _passes(lm))
    except KeyError as error:
        raise StructureError(
            name, f"transformers has no activation {error}: activation is wrong"
        ) from error
    if not fits:
        found = _fitting(lm)
        raise StructureError(
            name,
            f"what enters {block.down_proj} is not {block.key_formula} as the block says, "
            + (f"but {found.key_formula}" if found else "and nothing else that editvc knows"),
            hint="`up_proj`, `gate_proj` and `activation` say what it is; without them the family "
            "has no gated edits.",
        )
    if block.width is not None and not _widens(lm, block.width):
        raise StructureError(
            name, f"the config's {block.width} does not say how wide its MLPs are: width is wrong"
        )


def _check_map(lm: LanguageModel, key: str, path: str) -> None:
    block, parts = lm.architecture, 2 if lm.architecture.up_proj == lm.architecture.gate_proj else 1
    for layer in range(lm.depth):
        try:
            module = lm.block(layer).get_submodule(path)
        except AttributeError as error:
            raise StructureError(
                block.model_type, f"the block does not fit the model: {error}"
            ) from error
        if features(module) != (parts * lm.inner_size, lm.hidden_size):
            raise StructureError(
                block.model_type,
                f"{path} is no linear map from the hidden size to {parts * lm.inner_size} numbers: "
                f"{key} is wrong",
            )
        if is_conv1d(module) != block.transposed:
            raise StructureError(
                block.model_type, f"{path} is not stored as {block.down_proj} is: {key} is wrong"
            )


def _fitting(lm: LanguageModel) -> Architecture | None:
    """The architecture with the first form and activation that fit all layers, if any does."""
    passes = _passes(lm)
    for up, gate in _forms(lm):
        for activation in _activations(lm.config):
            proposed = replace(lm.architecture, up_proj=up, gate_proj=gate, activation=activation)
            if _fits(replace(lm, architecture=proposed), passes):
                return proposed
    return None


def _candidates(lm: LanguageModel) -> dict[str, int]:
    """Maps that an MLP may begin with, and how many times the inner size each gives."""
    u, v, block = lm.hidden_size, lm.inner_size, lm.block(0)
    times = {(v, u): 1, (2 * v, u): 2}
    return {
        path: times[shape]
        for path, shape in linear_maps(block).items()
        if shape in times
        and path != lm.architecture.down_proj
        and is_conv1d(block.get_submodule(path)) == lm.architecture.transposed
    }


def _forms(lm: LanguageModel) -> Iterator[tuple[str, str | None]]:
    """Every up projection with its gate: none, another map, or itself where it holds both."""
    candidates = _candidates(lm)
    single = [path for path, times in candidates.items() if times == 1]
    yield from ((path, None) for path in single)
    yield from ((up, gate) for up in single for gate in single if up != gate)
    yield from ((path, path) for path, times in candidates.items() if times == 2)


def _activations(config: PretrainedConfig) -> Iterator[str]:
    """Names that a block may have: the config's own, then those of transformers.

    One with weights is left out, for each layer has its own.
    """
    from transformers.activations import ACT2FN

    for name, value in config.to_dict().items():
        if isinstance(value, str) and value in ACT2FN and not [*ACT2FN[value].parameters()]:
            yield name
    yield from _UNNAMED


def _passes(lm: LanguageModel) -> list[_Pass]:
    """What each layer's MLP does with standard normal numbers for what its maps give.

    Whatever the weights are, such numbers tell activations apart: one that is nearly linear for
    small numbers, and exact and approximate ones.
    """
    generator = torch.Generator().manual_seed(0)
    passes = [_Pass({}, {}, []) for _ in range(lm.depth)]

    def replacing(seen: _Pass, path: str) -> Callable[..., Tensor]:
        def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            numbers = torch.randn(output.shape, generator=generator).to(output)
            seen.taken[path] = args[0].flatten(0, -2)
            seen.given[path] = numbers.flatten(0, -2).clone()  # an MLP may write into its own
            return numbers

        return hook

    def noting(seen: _Pass) -> Callable[..., None]:
        return lambda _module, args: seen.keys.append(args[0].flatten(0, -2).clone())

    with lm.eval_mode() as handles, torch.no_grad():
        for layer, seen in enumerate(passes):
            for path in _candidates(lm):
                module = lm.block(layer).get_submodule(path)
                handles.append(module.register_forward_hook(replacing(seen, path)))
            handles.append(lm.down_proj(layer).register_forward_pre_hook(noting(seen)))
        lm.model(**tokens(lm.device), use_cache=False)
    return passes


def _fits(lm: LanguageModel, passes: list[_Pass]) -> bool:
    """Whether every layer's keys are what the block makes of the maps, but for rounding."""
    return all(_fits_layer(lm, seen) for seen in passes)


def _fits_layer(lm: LanguageModel, seen: _Pass) -> bool:
    block, activation = lm.architecture, lm.activation
    paths = [path for path in (block.gate_proj, block.up_proj) if path is not None]
    if not seen.keys or not all(path in seen.given for path in paths):  # one does not run
        return False
    inputs = [seen.taken[path].nan_to_num() for path in paths]
    if not all(torch.equal(inputs[0], one) for one in inputs):
        return False
    given = [seen.given[path] for path in paths]
    if len(given) == 2 and block.gate_proj == block.up_proj:
        given = list(given[0].chunk(2, dim=-1))
    inner, beside = given[0], given[1] if len(given) == 2 else torch.ones(()).to(given[0])
    expected, key = activation(inner) * beside, seen.keys[-1]
    if expected.shape != key.shape:
        return False
    # An activation may lose the smaller part of 1 + tanh(x): an error is a share of its input.
    # Families that write out a formula write its constants to the digits of float32.
    eps = max(torch.finfo(dtype).eps for dtype in (key.dtype, torch.float32))
    off, size = (one.double().norm() for one in (expected - key, inner * beside))
    return float(off) <= _ROUNDINGS * eps * float(size)


def _widens(lm: LanguageModel, name: str) -> bool:
    """Whether another number of that name in the config makes every MLP as wide as it says."""
    if not hasattr(lm.config, name):
        return False
    config, width = deepcopy(lm.config), 2 * lm.inner_size
    setattr(config, name, width)
    try:
        wider = replace(lm, model=skeleton(config))
    except StructureError:  # a family may hold its sizes to each other
        return False
    shapes = [features(wider.down_proj(layer)) for layer in range(lm.depth)]
    return all(shape == (lm.hidden_size, width) for shape in shapes)
