"""Find the block of a family that the architecture table lacks.

Paths are read off a model without weights, built from its config. Whether a norm or a factor stands
behind the down projection (:mod:`editvc.models.architecture_check`), and what stands before it
(:mod:`editvc.models.mlp_structure`), is measured on a narrow random model of the same config where
one can be built.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module

from editvc.models.architecture_check import arrivals, check_block, in_words, same
from editvc.models.architectures import Architecture
from editvc.models.language_model import LanguageModel
from editvc.models.mlp_structure import find_mlp
from editvc.models.structure import (
    StructureError,
    features,
    in_attention,
    inner_size,
    is_conv1d,
    linear_maps,
    skeleton,
    tokens,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, slots=True)
class DiscoveredBlock:
    """The block that a structure shows; ``measured`` is False where no narrow model was built.

    Then ``normed`` and ``factor`` are at their defaults, and what a repository begins with says
    whether they hold; ``attention`` and how the MLP begins are not known.
    """

    architecture: Architecture
    measured: bool


def find_block(config: PretrainedConfig) -> DiscoveredBlock:
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
    proposed = Architecture(name, layers, down, norms[0] if norms else "", is_conv1d(module))
    narrow_model = _narrow(config)
    if narrow_model is None:
        return DiscoveredBlock(
            replace(proposed, final_norm=_only(name, "final norms", norms)), False
        )
    narrow = LanguageModel(narrow_model, None, proposed)
    norms = _called_after(narrow, norms)
    proposed = replace(
        proposed,
        final_norm=_only(name, "final norms", norms),
        attention=_attention_output(narrow),
    )
    arriving = _with_arrival(replace(narrow, architecture=proposed))
    measured = find_mlp(replace(narrow, architecture=arriving))
    check_block(replace(narrow, architecture=measured))
    return DiscoveredBlock(measured, True)


def _only(model_type: str, what: str, paths: list[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    raise StructureError(
        model_type,
        f"its structure is ambiguous: {what}: " + (", ".join(paths) or "none"),
        hint="Write the block by hand, as in editvc/models/architectures.toml, and give it to "
        "`editvc init MODEL --architecture FILE`, which checks it on the model.",
    )


def _lists(model: PreTrainedModel, depth: int | None) -> list[str]:
    """Paths of the module lists as long as the model is deep, without those inside another."""
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth
    ]
    return [path for path in paths if not any(path.startswith(f"{outer}.") for outer in paths)]


def _down_projections(name: str, block: Module, config: PretrainedConfig) -> list[str]:
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
    wide = (config.hidden_size, inner_size(config))
    return [path for path, shape in linear_maps(block).items() if shape == wide]


def _attention_output(lm: LanguageModel) -> str | None:
    """The linear map to the hidden size that attention ends with: the last one that it runs."""
    block = lm.block(0)
    maps = {path: features(block.get_submodule(path)) for path in in_attention(block)}
    size = lm.hidden_size
    order = _called(lm, {path: block.get_submodule(path) for path in maps})
    ends = [path for path in order if (shape := maps[path]) is not None and shape[0] == size]
    return ends[-1] if ends else None


def _norms_beside(model: PreTrainedModel, layers: str) -> list[str]:
    parent = layers.rpartition(".")[0]
    return [
        f"{parent}.{name}".lstrip(".")
        for name, child in model.get_submodule(parent).named_children()
        if "norm" in type(child).__name__.lower()
    ]


def _called_after(lm: LanguageModel, norms: list[str]) -> list[str]:
    """The norms that run after the last block."""
    last = lm.block(lm.depth - 1)
    order = _called(lm, {"": last} | {path: lm.model.get_submodule(path) for path in norms})
    return order[order.index("") + 1 :]


def _called(lm: LanguageModel, modules: dict[str, Module]) -> list[str]:
    """The names of modules in the order in which a pass ends them."""
    order: list[str] = []

    def noting(name: str) -> Any:
        return lambda *_: order.append(name)

    with lm.eval_mode() as handles, torch.no_grad():
        for name, module in modules.items():
            handles.append(module.register_forward_hook(noting(name)))
        lm.model(**tokens(lm.device))
    return order


def _with_arrival(lm: LanguageModel) -> Architecture:
    architecture, gain = lm.architecture, arrivals(lm)[0]
    if gain is None:
        return replace(architecture, normed=True)
    if same(gain, 1.0):
        return architecture
    numbers = lm.config.to_dict().items()
    named = [key for key, value in numbers if isinstance(value, float) and same(gain, value)]
    if len(named) != 1:
        raise StructureError(
            architecture.model_type,
            f"what a down projection gives arrives {in_words(gain)}, and not one number of its "
            f"config says so, but {', '.join(named) or 'none'}",
        )
    return replace(architecture, factor=named[0])


def _narrow(config: PretrainedConfig) -> PreTrainedModel | None:
    """A random model like the config's but with few heads and a small vocabulary, or None."""
    from transformers import AutoModelForCausalLM

    try:
        with _own_seed():
            model = AutoModelForCausalLM.from_config(_narrowed(config), trust_remote_code=False)
        model = model.float().eval().requires_grad_(False)
        with torch.no_grad():
            model(**tokens(model.device))
    except Exception:  # whatever a family demands of its sizes
        return None
    return model


def _narrowed(config: PretrainedConfig) -> PretrainedConfig:
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
