"""Patches: opaque changes of the weights for one fact, or for what came from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editvc.algebra.delta import Delta, DeltaDamageError, delta_from_bytes, delta_to_bytes
from editvc.core.ids import canonical_json

KIND = "patch"


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A change that is added to the base's weights as it is.

    ``figures`` tells how it went, by name: a method's loss and steps, and ``error``, the relative
    Frobenius error of the factors against the change that the method found (0 where they are it).
    """

    delta: Delta
    figures: Mapping[str, float]

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """The delta's safetensors bytes, with the figures and ``origin`` (JSON) as metadata."""
        record = {"kind": KIND, "figures": dict(self.figures)} | dict(origin or {})
        return delta_to_bytes(self.delta, record)

    @classmethod
    def from_bytes(cls, data: bytes) -> Patch:
        """The inverse of :meth:`to_bytes`; ``DeltaDamageError`` for other bytes."""
        delta, record = delta_from_bytes(data)
        if record.get("kind") != KIND or not isinstance(record.get("figures"), dict):
            raise DeltaDamageError(f"a patch is needed, this is {canonical_json(record).decode()}")
        return cls(delta, record["figures"])
