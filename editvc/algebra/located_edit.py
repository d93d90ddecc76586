"""What a located method makes of a fact: a key and a residual for every edited layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from editvc.core.ids import canonical_json
from editvc.errors import DamageError

_METADATA = "editvc"


class LocatedDamageError(DamageError):
    """Bytes that are no located edit."""


@dataclass(frozen=True, slots=True)
class Located:
    """A fact made numeric: by layer, its key (v,) and residual (u,), float32, on the CPU.

    ``figures`` tells how it went: ``loss``, ``steps``, ``base_probability`` and ``probability`` of
    the target before and after, ``residual`` = |z - h| and ``hidden`` = |h| at the last layer.
    """

    keys: dict[int, Tensor]
    residuals: dict[int, Tensor]
    figures: dict[str, float]

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.3.key``, ``layer.3.residual``, the figures in one metadata key.

        ``origin`` (JSON values: base, recipe, request ...) joins the figures there.
        """
        tensors = {f"layer.{layer}.key": key for layer, key in self.keys.items()}
        tensors |= {f"layer.{layer}.residual": value for layer, value in self.residuals.items()}
        record = {"kind": "located", "figures": self.figures} | dict(origin or {})
        data: bytes = save(
            {name: tensor.contiguous() for name, tensor in sorted(tensors.items())},
            metadata={_METADATA: canonical_json(record).decode()},
        )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Located:
        """The inverse of :meth:`to_bytes`; :class:`LocatedDamageError` for other bytes."""
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + size])
            figures = json.loads(header["__metadata__"][_METADATA])["figures"]
            parts: dict[str, dict[int, Tensor]] = {"key": {}, "residual": {}}
            for name, tensor in load(data).items():
                _, layer, part = name.split(".")
                parts[part][int(layer)] = tensor
        except Exception as error:
            raise LocatedDamageError(f"not a located edit: {error}") from error
        keys, residuals = (dict(sorted(part.items())) for part in parts.values())
        return cls(keys, residuals, figures)
