"""Find the block of a family that the architecture table lacks, and check one against a model.

Paths are read off a model without weights, built from its config. Whether a norm or a factor
stands behind the down projection, and which linear map gives attention's output, is measured: on a
narrow random model of the same config where one can be built, and always on the real one before a
repository is made with the block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editvc.editing.architectures import Architecture
from editvc.editing.replay import first_tensor, logits_of, undisturbed
from editvc.editing.skeletons import StructureError, narrow, skeleton, tokens
from editvc.editing.targets import inner_size

_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Found:
    """The block that a structure shows; ``measured`` is False where no narrow model was built.

    Then ``normed`` and ``factor`` are at their defaults, and what a repository begins with says
    whether they hold; ``attention`` is left out, as it is where no one module gives its output.
    """

    architecture: Architecture
    measured: bool


def find_block(config: Any) -> Found:
    """The block of a config's family, from its structure alone.

    Raises :class:`StructureError` where the structure is ambiguous, a mixture of experts, or does
    something with the down projection's output that no block can say.
    """
    model = skeleton(config)
    name, count = config.model_type, getattr(config, "num_hidden_layers", None)
    if not isinstance(getattr(config, "intermediate_size", 0), int | None):
        raise StructureError(name, "its blocks are not alike: intermediate_size is a list")
    layers = _only(name, "lists of blocks", _lists(model, count))
    blocks = list(model.get_submodule(layers))
    down = _only(name, "down projections", _down_projections(name, blocks[0], config))
    module = blocks[0].get_submodule(down)
    for index, block in enumerate(blocks):
        if dict(block.named_modules()).keys() != dict(blocks[0].named_modules()).keys():
            raise StructureError(name, f"block {index} is not like block 0")
    norms = _norms_beside(model, layers)
    proposed = Architecture(name, layers, down, norms[0] if norms else "", _is_conv1d(module))
    small = narrow(config)
    if small is None:
        return Found(replace(proposed, final_norm=_only(name, "final norms", norms)), False)
    norms = _called_after(small, proposed, norms)
    proposed = replace(proposed, final_norm=_only(name, "final norms", norms))
    found = _with_attention(_with_arrival(proposed, small), small)
    check_block(small, found)
    return Found(found, True)


def check_block(model: Any, architecture: Architecture) -> None:
    """Raise :class:`StructureError` unless a loaded model does what the block says.

    The paths lead to modules, the down projection is stored as said and gives the hidden size,
    what it gives arrives as said behind every block, attention's output moves its own token alone,
    and the head makes the model's logits of what the final norm gives.
    """
    name = architecture.model_type
    try:
        modules = [architecture.module(model, at) for at in range(architecture.depth(model))]
        architecture.norm(model)
        architecture.gain(model.config)
    except (AttributeError, TypeError) as error:
        raise StructureError(name, f"the block does not fit the model: {error}") from error
    shape = _features(modules[0])
    if _is_conv1d(modules[0]) != architecture.transposed or shape is None:
        kind = type(modules[0]).__name__
        raise StructureError(name, f"{architecture.down_proj} is a {kind}: transposed is wrong")
    if shape[0] != model.config.hidden_size:
        raise StructureError(
            name, f"{architecture.down_proj} gives {shape[0]} numbers, not the hidden state's"
        )
    expected = None if architecture.normed else architecture.gain(model.config)
    for layer, gain in enumerate(arrivals(model, architecture)):
        if not _same(gain, expected):
            raise StructureError(
                name,
                f"what the down projection of layer {layer} gives arrives {_told(gain)} behind its "
                f"block, and not {_told(expected)} as the block says",
                hint="`normed` and `factor` say how it arrives.",
            )
    if architecture.attention is not None:
        _check_attention(model, architecture, architecture.attention)
    _check_head(model, architecture)


def arrivals(model: Any, architecture: Architecture) -> list[float | None]:
    """How much of what each down projection gives arrives behind its block; None through a norm.

    Measured by running every block a second time, with a vector added to that output at the first
    token and an eighth of it at the second: a norm does not answer in proportion. Raises
    :class:`StructureError` where that moves other tokens: attention lies between.
    """
    gains: list[float | None] = []

    def measuring(down: Any) -> Callable[..., None]:
        def measure(block: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            plain = first_tensor(output)
            vector = torch.linspace(-1, 1, plain.shape[-1], device=plain.device, dtype=plain.dtype)
            added = torch.stack([vector, vector / 8]) * plain.norm(dim=-1).mean()
            handle = down.register_forward_hook(_adding(added))
            try:
                moved = (first_tensor(block.forward(*args, **kwargs)) - plain).double()[0]
            finally:
                handle.remove()
            if moved[2:].norm() > _TOLERANCE * moved[:2].norm():
                raise StructureError(
                    architecture.model_type,
                    f"what {architecture.down_proj} gives at a token moves others: "
                    "attention stands behind it",
                )
            gains.append(_gain(moved[:2], added.double()))

        return measure

    with undisturbed(model) as handles, torch.no_grad():
        for layer in range(architecture.depth(model)):
            hook = measuring(architecture.module(model, layer))
            block = architecture.block(model, layer)
            handles.append(block.register_forward_hook(hook, with_kwargs=True))
        model(**tokens(model), use_cache=False)
    return gains


def _adding(vectors: Tensor) -> Callable[..., Tensor]:
    def hook(_module: Any, _args: Any, given: Tensor) -> Tensor:
        changed = given.clone(memory_format=torch.contiguous_format)
        # Some MLPs are handed all tokens in one dimension.
        changed.view(-1, given.shape[-1])[: len(vectors)] += vectors
        return changed

    return hook


def _gain(moved: Tensor, added: Tensor) -> float | None:
    """The factor g of ``moved = g added``, (tokens, u) both; None where there is none."""
    gain = float((moved * added).sum() / (added * added).sum())
    off = float((moved - gain * added).norm())
    return gain if off <= _TOLERANCE * abs(gain) * float(added.norm()) else None


def _same(gain: float | None, other: float | None) -> bool:
    if gain is None or other is None:
        return gain is other
    return abs(gain - other) <= _TOLERANCE * abs(other)


def _told(gain: float | None) -> str:
    return "through a norm" if gain is None else f"{gain:.4g}-fold"


def _check_attention(model: Any, architecture: Architecture, path: str) -> None:
    name = architecture.model_type
    try:
        shape = _features(replace(architecture, attention=path).attention_module(model, 0))
    except AttributeError as error:
        raise StructureError(name, f"the block does not fit the model: {error}") from error
    if shape is None or shape[0] != model.config.hidden_size:
        raise StructureError(
            name, f"{path} is no linear map that gives the hidden size: attention is wrong"
        )
    if 0.0 in arrivals(model, replace(architecture, down_proj=path)):
        raise StructureError(name, f"what {path} gives arrives nowhere: attention is wrong")


def _check_head(model: Any, architecture: Architecture) -> None:
    seen: list[Tensor] = []
    with undisturbed(model) as handles, torch.no_grad():
        handles.append(
            architecture.block(model, architecture.depth(model) - 1).register_forward_hook(
                lambda _module, _args, output: seen.append(first_tensor(output))
            )
        )
        expected = model(**tokens(model), use_cache=False).logits.float()
        try:
            found = logits_of(model, architecture.norm(model)(seen[-1])).float()
            off = float((found - expected).norm() / expected.norm())
        except RuntimeError:  # what is named as norm takes no hidden state, or gives another size
            off = torch.inf
    if not off <= _TOLERANCE:
        raise StructureError(
            architecture.model_type,
            f"its logits are not the head's on what {architecture.final_norm} gives",
            hint="Its head does more than editvc can follow; this family cannot be edited.",
        )


def _only(model_type: str, what: str, found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    raise StructureError(
        model_type,
        f"its structure is ambiguous: {what}: " + (", ".join(found) or "none"),
        hint="Write the block by hand, as in editvc/editing/architectures.toml, and give it to "
        "`editvc init MODEL --architecture FILE`, which checks it on the model.",
    )


def _lists(model: Any, depth: int | None) -> list[str]:
    """Paths of the module lists as long as the model is deep, without those inside another."""
    found = [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth
    ]
    return [path for path in found if not any(path.startswith(f"{outer}.") for outer in found)]


def _down_projections(name: str, block: Any, config: Any) -> list[str]:
    """Paths of the linear maps from the MLP's inner size to the hidden one, outside attention."""
    if any(isinstance(part, torch.nn.ModuleList) for part in block.modules()) or any(
        parameter.ndim > 2 for parameter in block.parameters()
    ):
        raise StructureError(
            name,
            "a block holds a list of modules or stacked weights, as mixtures of experts and "
            "convolutions do",
            hint="editvc edits transformers with one MLP a block.",
        )
    within = _in_attention(block)
    wide = (config.hidden_size, inner_size(config))
    return [
        path
        for path, part in block.named_modules()
        if path not in within and _features(part) == wide
    ]


def _in_attention(block: Any) -> set[str]:
    """Paths of all that is attention, by the names of classes, or inside it."""
    outer = [
        path for path, part in block.named_modules() if "attention" in type(part).__name__.lower()
    ]
    return {
        path
        for path, _ in block.named_modules()
        if any(path == one or path.startswith(f"{one}.") for one in outer)
    }


def _features(module: Any) -> tuple[int, int] | None:
    """Output and input size of a linear map, None of anything else."""
    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    if _is_conv1d(module):
        inner, out = module.weight.shape
        return int(out), int(inner)
    return None


def _is_conv1d(module: Any) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def _norms_beside(model: Any, layers: str) -> list[str]:
    parent = layers.rpartition(".")[0]
    return [
        f"{parent}.{name}".lstrip(".")
        for name, child in model.get_submodule(parent).named_children()
        if "norm" in type(child).__name__.lower()
    ]


def _called_after(model: Any, architecture: Architecture, norms: list[str]) -> list[str]:
    """The norms that run after the last block."""
    last = architecture.block(model, architecture.depth(model) - 1)
    order = _called(model, {path: model.get_submodule(path) for path in norms} | {"": last})
    return order[order.index("") + 1 :]


def _with_attention(architecture: Architecture, model: Any) -> Architecture:
    """With attention's last linear map, unless the block has several attentions or that is wrong.

    Queries, keys and values are made before; what is made of them may still be scaled or gated.
    """
    block = architecture.block(model, 0)
    within = _in_attention(block)
    maps = [path for path in sorted(within) if _features(block.get_submodule(path)) is not None]
    roots = {path for path in within if path.rpartition(".")[0] not in within}
    order = _called(model, {path: block.get_submodule(path) for path in maps})
    if len(roots) != 1 or not order:
        return architecture
    try:
        _check_attention(model, architecture, order[-1])
    except StructureError:
        return architecture
    return replace(architecture, attention=order[-1])


def _called(model: Any, modules: Mapping[str, Any]) -> list[str]:
    """The names of the modules in the order in which they give something."""
    order: list[str] = []

    def noting(name: str) -> Any:
        return lambda *_: order.append(name)

    with undisturbed(model) as handles, torch.no_grad():
        for name, module in modules.items():
            handles.append(module.register_forward_hook(noting(name)))
        model(**tokens(model))
    return order


def _with_arrival(architecture: Architecture, model: Any) -> Architecture:
    gain = arrivals(model, architecture)[0]
    if gain is None:
        return replace(architecture, normed=True)
    if _same(gain, 1.0):
        return architecture
    numbers = model.config.to_dict().items()
    named = [key for key, value in numbers if isinstance(value, float) and _same(gain, value)]
    if len(named) != 1:
        raise StructureError(
            architecture.model_type,
            f"what a down projection gives arrives {_told(gain)}, and not one number of its config "
            f"says so, but {', '.join(named) or 'none'}",
        )
    return replace(architecture, factor=named[0])
