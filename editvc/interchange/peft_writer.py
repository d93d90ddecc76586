"""The exact delta as a PEFT adapter: for servers and tools that load LoRA beside a base model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.errors import EditvcError
from editvc.interchange.manifest import write_manifest
from editvc.interchange.staging import add_documents, staged
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Shard, weights_digest

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class AdapterError(EditvcError):
    """A delta that makes no adapter."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What :func:`export_lora` wrote.

    ``ranks`` and ``errors`` go by module path: the rank of the two factors, and the Frobenius norm
    of what was cut relative to the whole (0.0 where nothing was). ``digest`` is a sha256 over
    every factor.
    """

    path: Path
    ranks: Mapping[str, int]
    errors: Mapping[str, float]
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": str(self.path),
            "ranks": dict(self.ranks),
            "errors": dict(self.errors),
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
    replace: bool = False,
    documents: Callable[[Adapter], Mapping[str, str | bytes]] | None = None,
    check: Callable[[Path], None] | None = None,
) -> Adapter:
    """Write ``delta`` as a PEFT adapter of the model ``base`` (a Hub id or a folder).

    LoRA computes ``W x + (alpha / r) B A x``: with ``alpha = r`` in every layer, B A is the delta
    itself. A (r, v) and B (u, r) share the singular values evenly, ``B = U sqrt(s)`` and
    ``A = sqrt(s) Vh``, which keeps both in the range of ``dtype``. ``rank`` keeps the largest
    singular values of each layer. PEFT transposes the product itself where ``fan_in_fan_out`` says
    that the base stores (v, u), so Conv1D and Linear take the same factors. ``check`` is called on
    the finished folder before it takes its name, and what it raises cancels the export.

    Raises :class:`AdapterError` for an empty delta, a rank below 1 and factors that are not finite
    in ``dtype``; :class:`~editvc.core.output_path.TargetError` for a target in use.
    """
    if rank is not None and rank < 1:
        raise AdapterError(f"an adapter needs rank 1 or more, got {rank}")
    if delta.is_empty:
        raise AdapterError(
            "there is no edit to put into an adapter", hint="`editvc status` counts live edits."
        )
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    errors: dict[str, float] = {}
    for module, part in _linear(architecture, delta).items():
        up, down, errors[module] = _balanced(part, rank)
        ranks[module] = down.shape[0]
        for side, factor in (("lora_A", down), ("lora_B", up)):
            tensors[f"base_model.model.{module}.{side}.weight"] = _stored(factor, dtype, module)
    with staged(target, replace=replace) as folder:
        text = json.dumps(_config(architecture, ranks, base, revision), indent=2, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        # safetensors makes files for their owner alone; the user's umask is in the other's mode.
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)
        shard = Shard.open(folder / WEIGHTS)
        digest = weights_digest({name: shard.digest(name) for name in shard.infos})
        result = Adapter(target, ranks, errors, digest)
        record = {key: value for key, value in result.to_json().items() if key != "path"}
        write_manifest(folder, "lora", record)
        add_documents(folder, documents(result) if documents else {})
        if check is not None:
            check(folder)
    return result


def _linear(architecture: Architecture, delta: Delta) -> dict[str, Factored]:
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


def _balanced(part: Factored, rank: int | None) -> tuple[Tensor, Tensor, float]:
    """B (u, r), A (r, v) with ``B A`` the best rank-r delta, and the relative error of the cut."""
    left, values, right = part.svd()
    kept = len(values) if rank is None else min(rank, len(values))
    root = values[:kept].sqrt()
    whole = float(torch.linalg.vector_norm(values))
    lost = float(torch.linalg.vector_norm(values[kept:]))
    return left[:, :kept] * root, root[:, None] * right[:kept], lost / whole if whole else 0.0


def _stored(factor: Tensor, dtype: torch.dtype, module: str) -> Tensor:
    stored = factor.to(dtype).contiguous()
    if not bool(torch.isfinite(stored).all()):
        raise AdapterError(
            f"the factors of '{module}' are not finite as {str(dtype).removeprefix('torch.')}",
            hint="`editvc health` names the edits that are out of range; revert or compact them.",
        )
    return stored


def _config(
    architecture: Architecture, ranks: Mapping[str, int], base: str, revision: str | None
) -> dict[str, Any]:
    """PEFT's ``adapter_config.json``. Whole module paths: ``h.1`` must not select ``h.11``."""
    widest = max(ranks.values())
    narrower = {module: rank for module, rank in ranks.items() if rank != widest}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "inference_mode": True,
        "r": widest,
        "lora_alpha": widest,
        "rank_pattern": narrower,
        "alpha_pattern": narrower,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": architecture.transposed,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
    }
