"""A PEFT adapter as a delta: ``W' = W + s B A`` for every linear module that it reaches.

LoRA (Hu et al. 2021, arXiv 2106.09685): A (r, in), B (out, r) and the scale ``s = alpha / r``, or
``alpha / sqrt(r)`` where it is rank-stabilised (Kalajdzievski 2023, arXiv 2312.03732). What is more
than that, or other than additive, is refused by name.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, float64, isfinite

from editvc.algebra.factored import Factored
from editvc.core.cut import quoted
from editvc.core.ids import digest_of
from editvc.core.plain_json import read_json
from editvc.core.settings import is_number
from editvc.interchange.base_weights import BaseWeights, Imported, ImportRefused
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Shard, weights_digest

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
CONVERT = (
    'cd {folder} && python -c "import torch, safetensors.torch as s; '
    "t = torch.load('adapter_model.bin', weights_only=True, map_location='cpu'); "
    "s.save_file({{k: v.clone() for k, v in t.items()}}, 'adapter_model.safetensors')\""
)
MERGE = (
    "Merge it with PEFT (`merge_and_unload()`, then `save_pretrained(DIR)`) and import that "
    "folder: `editvc import DIR` takes the difference to the base."
)
REASONS = {
    "use_dora": "DoRA rescales whole weights, so it is no change that can be added",
    "modules_to_save": "it holds whole modules beside its factors",
    "bias": "it holds biases beside its factors",
    "lora_bias": "it holds biases beside its factors",
    "trainable_token_indices": "it holds rows of the embedding beside its factors",
    "layer_replication": "it changes the number of layers",
    "target_parameters": "it reaches parameters that are no linear module",
    "alora_invocation_tokens": "it acts behind certain tokens only, which no weight can",
}
"""Settings that make an adapter more or other than ``s B A``."""

HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config",
    "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha",
    "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config",
    "target_modules", "task_type", "use_rslora",
}  # fmt: skip
"""Settings that are read here, or say how the factors came about and not what they mean."""

SOUND_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin training that leave the base's own weights alone (``init_lora_weights``)."""

_FACTOR = re.compile(r"base_model\.model\.(.+)\.lora_(embedding_)?([AB])(\.weight)?")
_REPEATED_GROUP, _REPEATS = re.compile(r"\)[*+?{]"), re.compile("[*+{]")
MOST_REPEATS = 2
"""In a pattern of modules."""
_WHOLE = re.compile(r"base_model\.model\.(.+?)(\.base_layer)?\.weight")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (folder / CONFIG).is_file()


def read_adapter(folder: Path, base: Path, architecture: Architecture) -> Imported:
    """The delta that a PEFT LoRA folder means for the model in ``base``; nothing is cut.

    Raises :class:`ImportRefused` for what no delta can say and for modules that the base lacks.
    """
    config = _config(folder)
    _require_plain(folder, config)
    _require_patterns(folder, config)
    tensors = _tensors(folder)
    shard = Shard.open(folder / WEIGHTS)
    digests = {name: shard.digest(name) for name in tensors}
    weights = BaseWeights(base, architecture)
    parts: dict[str, Factored] = {}
    for path, pair in _pairs(folder, weights, tensors).items():
        parameter = weights.parameter(f"{path}.weight")
        if parameter is None:
            raise ImportRefused(
                folder, f"the base has no module {path}", hint="The adapter is of another model."
            )
        part = _part(folder, weights, parameter, pair, _scale(folder, path, pair, config))
        if part.left.any() and part.right.any():  # before any training, B is zero
            parts[parameter] = part
    named = config.get("base_model_name_or_path")
    return Imported(
        kind="lora",
        delta=weights.delta(parts),
        digest=digest_of([config, weights_digest(digests)]),
        errors=dict.fromkeys(parts, 0.0),
        notes=(f"the adapter says that it was trained on {named}",) if named else (),
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = read_json((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise ImportRefused(folder, f"{CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise ImportRefused(folder, f"it is of PEFT type {kind}, not LORA", hint=MERGE)
    return config


def _tensors(folder: Path) -> dict[str, Tensor]:
    """What the adapter's file of weights holds, every number of which is one."""
    if (folder / PICKLED).is_file() and not (folder / WEIGHTS).is_file():
        raise ImportRefused(
            folder,
            f"its factors are in {PICKLED}, a pickle, which can run code; editvc reads safetensors",
            hint=f"If you trust it, convert it: {CONVERT.format(folder=shlex.quote(str(folder)))}",
        )
    try:
        tensors: dict[str, Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ImportRefused(
            folder, f"{WEIGHTS} cannot be read: {error}", hint="Save the adapter as safetensors."
        ) from error
    for name, tensor in tensors.items():
        if not bool(isfinite(tensor).all()):
            raise ImportRefused(
                folder,
                f"tensor {name} holds a number that is none (NaN or infinite)",
                hint="The training diverged, or the file is damaged; take an earlier checkpoint.",
            )
    return tensors


def _require_plain(folder: Path, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if not value or name in HARMLESS or (name == "bias" and value == "none"):
            continue
        reason = REASONS.get(name, "this setting is unknown to editvc")
        raise ImportRefused(folder, f"{name} is {value!r}: {reason}", hint=MERGE)
    start = config.get("init_lora_weights")
    if start not in SOUND_STARTS:
        raise ImportRefused(
            folder,
            f"init_lora_weights is {start!r}: its factors belong to a base that was changed before "
            "training",
            hint="Save it again with path_initial_model_for_weight_conversion. " + MERGE,
        )


def _require_patterns(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise for tables of patterns that are none.

    They are regular expressions, of which some would be matched for years: only those are taken
    that repeat no group, and little else.
    """
    for name in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(name) or {}
        if not isinstance(patterns, dict):
            raise ImportRefused(folder, f"{CONFIG} has a {name} that is no table of patterns")
        for pattern in patterns:
            told = f"{name} of {CONFIG} holds the pattern {quoted(pattern)}"
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise ImportRefused(folder, f"{told}, which is none: {error}") from error
            if _REPEATED_GROUP.search(pattern) or len(_REPEATS.findall(pattern)) > MOST_REPEATS:
                hint = "Name the modules by their paths."
                raise ImportRefused(folder, f"{told}, which may take for ever", hint=hint)


@dataclass(frozen=True, slots=True)
class Pair:
    """The two factors of one module: ``down`` (r, in) and ``up`` (out, r)."""

    down: Tensor
    up: Tensor
    embedding: bool


def _pairs(folder: Path, weights: BaseWeights, tensors: Mapping[str, Tensor]) -> dict[str, Pair]:
    """The factors by the path of their module."""
    sides: dict[tuple[str, bool], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if name := _FACTOR.fullmatch(key):
            sides.setdefault((name[1], bool(name[2])), {})[name[3]] = tensor
        elif not _is_the_base(weights, key, tensor):
            raise ImportRefused(folder, f"tensor {key!r} is no factor of LoRA", hint=MERGE)
    for (path, _), pair in sides.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise ImportRefused(folder, f"the factors A and B of {path} do not fit")
    return {path: Pair(one["A"], one["B"], own) for (path, own), one in sides.items()}


def _is_the_base(weights: BaseWeights, key: str, tensor: Tensor) -> bool:
    """PEFT saves embeddings whole beside their adapter; the base's own say nothing new."""
    name = _WHOLE.fullmatch(key)
    parameter = weights.parameter(f"{name[1]}.weight") if name else None
    if parameter is None:
        return False
    own = weights.read(parameter)
    return own.shape == tensor.shape and bool((own == tensor.to(own.dtype)).all())


def _scale(folder: Path, path: str, pair: Pair, config: Mapping[str, Any]) -> float:
    """The scale of one module: patterns that its path ends with go before the general numbers."""

    def number(patterns: str, general: str) -> float:
        name, value = general, config.get(general)
        try:
            for pattern, own in (config.get(patterns) or {}).items():
                if re.match(rf"(.*\.)?({pattern})$", path):
                    name, value = f"{patterns} of {pattern}", own
                    break
        except (AttributeError, re.error) as error:
            raise ImportRefused(
                folder, f"the {patterns} of its {CONFIG} are no patterns with their numbers"
            ) from error
        size = float(value) if value is not None and is_number(value) else math.nan
        if not math.isfinite(size) or (general == "r" and size <= 0):
            raise ImportRefused(folder, f"{CONFIG} gives {path} no usable number: {name} = {value}")
        return size

    rank, alpha = number("rank_pattern", "r"), number("alpha_pattern", "lora_alpha")
    if rank != pair.down.shape[0]:
        raise ImportRefused(
            folder, f"{CONFIG} gives {path} rank {rank:g}, its factors have {pair.down.shape[0]}"
        )
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _part(folder: Path, weights: BaseWeights, parameter: str, pair: Pair, scale: float) -> Factored:
    """``s B A`` in the orientation of the parameter, whose shape it must have."""
    names = weights.names[parameter]
    if len(names) > 1:
        raise ImportRefused(
            folder,
            f"it changes {' or '.join(names)}, which are one weight in the base: "
            "a change of it would reach both",
            hint="An adapter of an embedding or a head needs a base whose two are not tied.",
        )
    product = Factored(pair.up.to(float64) * scale, pair.down.to(float64))
    # An embedding looks its rows up, (in, out); so do the weights of Conv1D lie.
    turned = pair.embedding or weights.architecture.inverted(parameter)
    part = product.transposed() if turned else product
    shape = tuple(weights.checkpoint.info(weights.stored(parameter)[0]).shape)
    if part.shape != shape:
        raise ImportRefused(
            folder,
            f"its change of {parameter} has shape {part.shape}, the base's weight {shape}",
            hint="The adapter is of another model.",
        )
    return part
