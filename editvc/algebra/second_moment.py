"""Second moments of keys by layer, ``C_l = E[k k^T]``: what an edit must not disturb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "statistics"


class StatisticsDamageError(DamageError):
    """Bytes that are no second moment of editvc."""


@dataclass(frozen=True, slots=True)
class SecondMoment:
    """``E[k k^T]`` by layer, each as its upper triangle, row by row, (v (v + 1) / 2,) float32.

    ``samples`` counts what the mean is over, ``unit`` says what that is (``tokens``, ``names``).
    """

    triangles: Mapping[int, Tensor]
    samples: int
    unit: str = "tokens"

    @classmethod
    def of(cls, moments: Mapping[int, Tensor], samples: int, unit: str = "tokens") -> SecondMoment:
        """From symmetric matrices (v, v)."""
        return cls({layer: packed(moments[layer]) for layer in sorted(moments)}, samples, unit)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers there are moments of."""
        return tuple(self.triangles)

    def matrix(self, layer: int) -> Tensor:
        """The moment of one layer, (v, v) float64, symmetric."""
        return unpacked(self.triangles[layer])

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.3.triangle`` in float32; ``origin`` joins the record."""
        return self._pack("triangle", self.triangles, origin)

    def to_small_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """Half the size, for files that ship with a model: ``layer.3.factor`` in float16.

        The factor is Cholesky's, so what is read back is positive definite however it was rounded;
        it differs from this moment by about 1e-3.
        """
        factors = {layer: _factor(self.matrix(layer)) for layer in self.layers}
        return self._pack("factor", factors, origin)

    def _pack(
        self, part: str, layers: Mapping[int, Tensor], origin: Mapping[str, Any] | None
    ) -> bytes:
        tensors = {layer_tensor(layer, part): tensor for layer, tensor in layers.items()}
        record = {"kind": KIND, "samples": self.samples, "unit": self.unit}
        return pack(tensors, record | dict(origin or {}))

    @classmethod
    def from_bytes(cls, data: bytes) -> SecondMoment:
        """What :meth:`to_bytes` or :meth:`to_small_bytes` wrote; else StatisticsDamageError."""
        tensors, record = unpack(data, KIND, _damage)
        try:
            parts = by_part(tensors)
            triangles = dict(parts.pop("triangle", {}))
            triangles |= {n: _squared(factor) for n, factor in parts.pop("factor", {}).items()}
            samples, unit = int(record["samples"]), str(record["unit"])
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _damage(str(error)) from error
        if parts:
            raise _damage(f"it holds no tensors {sorted(parts)}")
        return cls(dict(sorted(triangles.items())), samples, unit)


def _damage(problem: str) -> StatisticsDamageError:
    return StatisticsDamageError(f"not a second moment: {problem}")


def packed(matrix: Tensor) -> Tensor:
    """The upper triangle of a symmetric matrix (v, v), row by row, float32, on the CPU."""
    rows = [matrix[i, i:] for i in range(matrix.shape[0])]
    return torch.cat(rows).to(torch.float32).cpu()


def _factor(matrix: Tensor) -> Tensor:
    """Cholesky's factor, transposed and packed like a triangle, float16."""
    jitter = 1e-6 * float(matrix.diagonal().mean())
    lower = torch.linalg.cholesky(matrix + jitter * torch.eye(len(matrix), dtype=matrix.dtype))
    return packed(lower.T).to(torch.float16)


def _squared(factor: Tensor) -> Tensor:
    """The packed moment of a packed factor."""
    upper = torch.triu(unpacked(factor))
    return packed(upper.T @ upper)


def unpacked(triangle: Tensor) -> Tensor:
    """The symmetric matrix (v, v), float64, of a packed triangle."""
    size = int((8 * len(triangle) + 1) ** 0.5 - 1) // 2
    matrix = torch.zeros(size, size, dtype=torch.float64)
    start = 0
    for row in range(size):
        values = triangle[start : start + size - row].double()
        matrix[row, row:] = values
        matrix[row:, row] = values
        start += size - row
    return matrix
