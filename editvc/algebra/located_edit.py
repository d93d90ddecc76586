"""What a located method makes of a fact: a key and a residual for every edited layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "located"


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
        """safetensors: ``layer.3.key``, ``layer.3.residual``, the figures in the record.

        ``origin`` (JSON values: base, recipe, request ...) joins the figures there.
        """
        tensors = {layer_tensor(layer, "key"): key for layer, key in self.keys.items()}
        tensors |= {layer_tensor(layer, "residual"): r for layer, r in self.residuals.items()}
        return pack(tensors, {"kind": KIND, "figures": self.figures} | dict(origin or {}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Located:
        """The inverse of :meth:`to_bytes`; :class:`LocatedDamageError` for other bytes."""
        tensors, record = unpack(data, KIND, _damage)
        try:
            parts = by_part(tensors)
            figures = record["figures"]
        except (ValueError, KeyError) as error:
            raise _damage(str(error)) from error
        if unknown := sorted(parts.keys() - {"key", "residual"}):
            raise _damage(f"it holds no tensors {unknown}")
        return cls(parts.get("key", {}), parts.get("residual", {}), figures)


def _damage(problem: str) -> LocatedDamageError:
    return LocatedDamageError(f"not a located edit: {problem}")
