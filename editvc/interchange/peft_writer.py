"""The exact delta as a PEFT adapter: for servers and tools that load LoRA beside a base model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import pad

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.core.tensor_header import metadata_of
from editvc.errors import EditvcError
from editvc.interchange.manifest import write_manifest
from editvc.interchange.staging import Content, add_documents, staged
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Info, Shard, header_of, weights_digest

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
STEPS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that servers reserve room for (``--max-lora-rank`` of vLLM)."""
FORMAT = "0.14.0"
"""The release of PEFT whose ``adapter_config.json`` is written, whichever is installed."""


class AdapterError(EditvcError):
    """A delta that makes no adapter."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What :func:`export_lora` wrote.

    ``ranks`` and ``errors`` go by module path: the rank of the change, and the Frobenius norm of
    what was cut relative to the whole (0.0 where nothing was). ``rank`` is that of all factors as
    they are stored, and ``excess`` the largest relative error that a cut to the last of
    :data:`STEPS` would make (0.0 where that holds them). ``digest`` is a sha256 over every factor.
    """

    path: Path
    ranks: Mapping[str, int]
    errors: Mapping[str, float]
    rank: int
    excess: float
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": str(self.path),
            "ranks": dict(self.ranks),
            "errors": dict(self.errors),
            "rank": self.rank,
            "digest": self.digest,
        }


def export_lora(
    target: Path,
    architecture: Architecture,
    delta: Delta,
    *,
    base: str,
    revision: str | None = None,
    rank: int | None = None,
    dtype: torch.dtype = torch.float32,
    origin: Mapping[str, str] | None = None,
    replace: bool = False,
    documents: Callable[[Adapter], Mapping[str, Content]] | None = None,
    check: Callable[[Path], None] | None = None,
) -> Adapter:
    """Write ``delta`` as a PEFT adapter of the model ``base`` (a Hub id or a folder).

    LoRA computes ``W x + (alpha / r) B A x``: with ``alpha = r``, B A is the delta itself. A (r, v)
    and B (u, r) share the singular values evenly, ``B = U sqrt(s)`` and ``A = sqrt(s) Vh``, which
    keeps both in the range of ``dtype``. ``rank`` keeps the largest singular values of each layer.
    All layers get one r, the first of :data:`STEPS` that holds the widest, and zeros where theirs
    is less: readers that know one alpha, or divide it by a tensor's own rank, read them right.

    PEFT transposes the product itself where ``fan_in_fan_out`` says that the base stores (v, u), so
    Conv1D and Linear take the same factors. ``origin`` (commit and tree) joins the metadata of the
    file. ``check`` is called on the finished folder before it takes its name, and what it raises
    cancels the export.

    Raises :class:`AdapterError` for an empty delta, a rank below 1 and factors that are not finite
    in ``dtype``; :class:`~editvc.core.output_path.TargetError` for a target in use.
    """
    if rank is not None and rank < 1:
        raise AdapterError(f"an adapter needs rank 1 or more, got {rank}")
    if delta.is_empty:
        raise _nothing()
    cuts = {module: _balanced(part, rank) for module, part in linear(architecture, delta).items()}
    ranks = {module: one.down.shape[0] for module, one in cuts.items()}
    widest = step_for(max(ranks.values()))
    tensors: dict[str, Tensor] = {}
    for module, one in cuts.items():
        empty = widest - ranks[module]
        for side, factor in (
            ("lora_A", pad(one.down, (0, 0, 0, empty))),
            ("lora_B", pad(one.up, (0, empty))),
        ):
            tensors[_stored_name(module, side)] = _stored(factor, dtype, module)
    with staged(target, replace=replace) as folder:
        config = _config(architecture, sorted(ranks), widest, base, revision)
        (folder / CONFIG).write_text(_config_text(config), encoding="utf-8")
        _write(folder / WEIGHTS, tensors, origin)
        shard = Shard.open(folder / WEIGHTS)
        digest = weights_digest({name: shard.digest(name) for name in shard.infos})
        errors = {module: one.error for module, one in cuts.items()}
        excess = max(one.excess for one in cuts.values())
        result = Adapter(target, ranks, errors, widest, excess, digest)
        record = {key: value for key, value in result.to_json().items() if key != "path"}
        write_manifest(folder, "lora", record)
        add_documents(folder, documents(result) if documents else {})
        if check is not None:
            check(folder)
    return result


def planned_sizes(
    architecture: Architecture,
    delta: Delta,
    *,
    base: str,
    revision: str | None = None,
    rank: int | None = None,
    origin: Mapping[str, str],
) -> dict[str, int]:
    """The files that :func:`export_lora` would write, with their bytes; without its documents.

    Raises :class:`AdapterError`.
    """
    if delta.is_empty:
        raise _nothing()
    parts = linear(architecture, delta)
    ranks = {name: min(part.rank, *part.shape) for name, part in parts.items()}
    widest = step_for(max(min(one, rank or one) for one in ranks.values()))
    infos = {}
    for module in sorted(parts):
        out, into = parts[module].shape
        infos[_stored_name(module, "lora_A")] = Info("F32", (widest, into))
        infos[_stored_name(module, "lora_B")] = Info("F32", (out, widest))
    sizes = {name: 4 * prod(shape) for name, (_, shape) in infos.items()}
    header = header_of(infos, sizes, {"format": "pt"} | metadata_of(origin))
    config = _config(architecture, sorted(ranks), widest, base, revision)
    return {
        CONFIG: len(_config_text(config).encode()),
        WEIGHTS: len(header) + sum(sizes.values()),
    }


def _stored_name(module: str, side: str) -> str:
    return f"base_model.model.{module}.{side}.weight"


def _config_text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _write(path: Path, tensors: Mapping[str, Tensor], origin: Mapping[str, str] | None) -> None:
    """The weights, with the bytes that equal ones have: safetensors puts several keys of metadata
    in an order that differs from process to process.
    """
    data = save(dict(tensors), metadata={"format": "pt"})
    path.write_bytes(data)
    if origin is not None:
        shard = Shard.open(path)
        path.write_bytes(shard.header_with({}, origin) + data[len(shard.header) :])


def _nothing() -> AdapterError:
    return AdapterError(
        "there is no edit to put into an adapter", hint="`editvc status` counts live edits."
    )


def linear(architecture: Architecture, delta: Delta) -> dict[str, Factored]:
    """The change of every linear module, by its path, as (out, in)."""
    parts = {architecture.weight_name(layer): part for layer, part in delta.layers.items()}
    for name, part in delta.weights.items():
        if part.shape[1] == 1 or not name.endswith(".weight"):
            raise AdapterError(
                f"'{name}' is changed, and LoRA reaches the weights of linear modules only",
                hint="Export it as hf or delta.",
            )
        parts[name] = part.transposed() if architecture.inverted(name) else part
    return {name.removesuffix(".weight"): part for name, part in parts.items() if part.rank}


def step_for(rank: int) -> int:
    """The first of :data:`STEPS` that holds a rank; the rank itself past the last."""
    return next((step for step in STEPS if step >= rank), rank)


@dataclass(frozen=True, slots=True, eq=False)
class Balanced:
    """B (u, r) and A (r, v) with ``B A`` the best rank-r change of a module.

    ``error`` is that of the cut, ``excess`` that of a further one to the last of :data:`STEPS`:
    Frobenius norms, relative to the whole.
    """

    up: Tensor
    down: Tensor
    error: float
    excess: float


def _balanced(part: Factored, rank: int | None) -> Balanced:
    left, values, right = part.svd()
    kept = len(values) if rank is None else min(rank, len(values))
    root = values[:kept].sqrt()
    whole = float(torch.linalg.vector_norm(values)) or 1.0

    def lost(first: int) -> float:
        return float(torch.linalg.vector_norm(values[first:])) / whole

    excess = lost(STEPS[-1]) if kept > STEPS[-1] else 0.0
    return Balanced(left[:, :kept] * root, root[:, None] * right[:kept], lost(kept), excess)


def _stored(factor: Tensor, dtype: torch.dtype, module: str) -> Tensor:
    stored = factor.to(dtype).contiguous()
    if not bool(torch.isfinite(stored).all()):
        raise AdapterError(
            f"the factors of '{module}' are not finite as {str(dtype).removeprefix('torch.')}",
            hint="`editvc health` names the edits that are out of range; revert or compact them.",
        )
    return stored


def _config(
    architecture: Architecture, modules: list[str], rank: int, base: str, revision: str | None
) -> dict[str, Any]:
    """PEFT's ``adapter_config.json``. Whole module paths: ``h.1`` must not select ``h.11``."""
    return {
        "peft_type": "LORA",
        "peft_version": FORMAT,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": modules,
        "fan_in_fan_out": architecture.transposed,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
    }
