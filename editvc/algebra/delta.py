"""Low-rank changes of weights, kept as two factors until the moment they are added to a weight.

Shapes throughout: u = hidden size, v = inner size of the MLP, r = rank of the factors. A change of
one weight is ``left @ right`` with left (u, r) and right (r, v), both float64. Norms, singular
values and products are computed from the factors; only :meth:`Factored.dense` makes a u x v array.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from editvc.core.ids import canonical_json
from editvc.errors import DamageError, EditvcError

METADATA_KEY = "editvc"
"""The one key in the header of every safetensors file that editvc writes: with several keys the
bytes would differ from process to process."""

Key = TypeVar("Key", int, str)

_NAME = re.compile(r"(layer\.(?:0|[1-9][0-9]*)|weight\..+)\.(left|right)")


class DeltaError(EditvcError):
    """Factors that do not fit together, or that cannot be stored."""


class DeltaDamageError(DamageError):
    """Bytes that are no delta of editvc."""


@dataclass(frozen=True, slots=True, eq=False)
class Factored:
    """The matrix ``left @ right``, never formed unless asked for.

    left (u, r) and right (r, v) are float64; other dtypes and shapes raise :class:`DeltaError`.
    The rank r is that of the factors, the matrix itself may have less. Rank 0 is the zero matrix.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        left, right = self.left, self.right
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise DeltaError(
                f"factors of shapes {tuple(left.shape)} and {tuple(right.shape)} have no product"
            )
        if left.dtype != torch.float64 or right.dtype != torch.float64:
            raise DeltaError(f"factors must be float64, got {left.dtype} and {right.dtype}")

    @classmethod
    def zero(cls, u: int, v: int) -> Factored:
        """The (u, v) zero matrix, of rank 0."""
        return cls(torch.zeros(u, 0, dtype=torch.float64), torch.zeros(0, v, dtype=torch.float64))

    @classmethod
    def of_dense(cls, matrix: Tensor) -> Factored:
        """A (u, v) matrix as it is, beside an identity: rank min(u, v), exact."""
        u, v = matrix.shape
        matrix = matrix.to(torch.float64)
        identity = torch.eye(min(u, v), dtype=torch.float64)
        return cls(identity, matrix) if u <= v else cls(matrix, identity)

    @property
    def shape(self) -> tuple[int, int]:
        """(u, v), the shape of the matrix."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def rank(self) -> int:
        """Columns of left, rows of right."""
        return self.left.shape[1]

    def dense(self) -> Tensor:
        """The (u, v) float64 matrix itself."""
        return self.left @ self.right

    def __add__(self, other: Factored) -> Factored:
        """Exact sum: the factors side by side, the ranks added."""
        if self.shape != other.shape:
            raise DeltaError(f"cannot add deltas of shapes {self.shape} and {other.shape}")
        return Factored(
            torch.cat([self.left, other.left], dim=1), torch.cat([self.right, other.right], dim=0)
        )

    @classmethod
    def sum(cls, parts: Sequence[Factored]) -> Factored:
        """One or more matrices of one shape, added in the order given.

        Their factors stand side by side while the ranks add up to less than min(u, v); beyond that
        the matrix itself is smaller, and is what is kept.
        """
        if len({part.shape for part in parts}) > 1:
            raise DeltaError(f"cannot add deltas of shapes {[part.shape for part in parts]}")
        if len(parts) == 1:
            return parts[0]
        if sum(part.rank for part in parts) < min(parts[0].shape):
            return cls(
                torch.cat([part.left for part in parts], dim=1),
                torch.cat([part.right for part in parts], dim=0),
            )
        total = parts[0].dense()
        for part in parts[1:]:
            total += part.dense()
        return cls.of_dense(total)

    def __neg__(self) -> Factored:
        """The matrix with its sign changed."""
        return Factored(-self.left, self.right)

    def __sub__(self, other: Factored) -> Factored:
        """Exact difference, the ranks added."""
        return self + -other

    def scaled(self, factor: float) -> Factored:
        """The matrix times a number."""
        return Factored(self.left * factor, self.right)

    def transposed(self) -> Factored:
        """The (v, u) transpose."""
        return Factored(self.right.T.contiguous(), self.left.T.contiguous())

    def __matmul__(self, columns: Tensor) -> Tensor:
        """The product with a (v,) vector or a (v, m) matrix: (u,) or (u, m)."""
        return self.left @ (self.right @ columns)

    def inner(self, other: Factored) -> float:
        """Frobenius inner product ``tr(A^T B) = sum_ij (L_A^T L_B)_ij (R_A R_B^T)_ij``."""
        return float(((self.left.T @ other.left) * (self.right @ other.right.T)).sum())

    def quadratic(self, moment: Tensor) -> float:
        """``tr(D C D^T)`` for a (v, v) moment C: the mean of ``|D k|^2`` over keys k with it."""
        return float(((self.left.T @ self.left) * (self.right @ moment @ self.right.T)).sum())

    def _core(self) -> tuple[Tensor, Tensor, Tensor]:
        """Orthonormal (u, p) and (v, q) and the small (p, q) matrix between them."""
        outer, upper = torch.linalg.qr(self.left)
        inner, lower = torch.linalg.qr(self.right.T)
        return outer, upper @ lower.T, inner

    def frobenius(self) -> float:
        """Frobenius norm, from the core of the thin QR: no cancellation when factors nearly do."""
        return float(torch.linalg.vector_norm(self._core()[1]))

    def singular_values(self) -> Tensor:
        """Singular values in falling order, (min(u, v, r),) float64."""
        if self.rank == 0:
            return torch.zeros(0, dtype=torch.float64)
        values: Tensor = torch.linalg.svdvals(self._core()[1])
        return values

    def spectral(self) -> float:
        """The largest singular value; 0 for the zero matrix."""
        values = self.singular_values()
        return float(values[0]) if len(values) else 0.0

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """Thin SVD (U, s, Vh) with s in falling order, p = min(u, v, r): (u, p), (p,), (p, v)."""
        outer, core, inner = self._core()
        left, values, right = torch.linalg.svd(core, full_matrices=False)
        return outer @ left, values, right @ inner.T

    def compress(self, *, rank: int | None = None, energy: float | None = None) -> Factored:
        """The best approximation of smaller rank (Eckart-Young), by truncated SVD.

        ``rank`` keeps that many singular values, ``energy`` (in (0, 1]) as few as hold that share
        of the squared Frobenius norm; with both, the smaller rank. Raises :class:`DeltaError` for
        numbers out of range.
        """
        left, values, right = self.svd()
        kept = rank_for(values, rank=rank, energy=energy)
        return Factored(left[:, :kept] * values[:kept], right[:kept].contiguous())


def rank_for(values: Tensor, *, rank: int | None = None, energy: float | None = None) -> int:
    """How many of the singular values (in falling order) a cut by rank or energy keeps."""
    if rank is not None and rank < 0:
        raise DeltaError(f"a rank cannot be negative, got {rank}")
    if energy is not None and not 0 < energy <= 1:
        raise DeltaError(
            f"energy must lie in (0, 1], got {energy}", hint="0.99 keeps 99% of the change."
        )
    kept = len(values) if rank is None else min(rank, len(values))
    if energy is not None and energy < 1:
        squares = values.square()
        reached = torch.cumsum(squares, 0) < energy * squares.sum()
        kept = min(kept, int(reached.sum()) + 1 if squares.any() else 0)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The change of a model: one :class:`Factored` per changed weight.

    ``layers`` are the MLP down projections that edits are made in, as (u, v). ``weights`` are any
    others, such as those of an imported adapter: by the name of the model's parameter, in the
    orientation in which the model keeps it, a vector of n numbers as (n, 1).
    """

    layers: Mapping[int, Factored] = field(default_factory=dict)
    weights: Mapping[str, Factored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", dict(sorted(self.layers.items())))
        object.__setattr__(self, "weights", dict(sorted(self.weights.items())))

    @property
    def parts(self) -> tuple[Factored, ...]:
        """The change of every weight, those of the layers first."""
        return (*self.layers.values(), *self.weights.values())

    @property
    def rank(self) -> int:
        """The largest rank of any weight; 0 without weights."""
        return max((part.rank for part in self.parts), default=0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed anywhere (every rank is 0)."""
        return self.rank == 0

    def norm(self) -> float:
        """Frobenius norm over all weights together."""
        return math.hypot(*(part.frobenius() for part in self.parts))

    def map(self, change: Callable[[int, Factored], Factored]) -> Delta:
        """A new delta with ``change(layer, factored)`` in every layer, and nowhere else."""
        layers = {layer: change(layer, part) for layer, part in self.layers.items()}
        return Delta(layers, self.weights)

    def each(self, change: Callable[[Factored], Factored]) -> Delta:
        """A new delta with ``change(factored)`` in every weight."""
        return Delta(
            {layer: change(part) for layer, part in self.layers.items()},
            {name: change(part) for name, part in self.weights.items()},
        )

    def __add__(self, other: Delta) -> Delta:
        """Weight by weight; one that only one of them has is taken as it is."""
        return Delta(_sum(self.layers, other.layers), _sum(self.weights, other.weights))

    @classmethod
    def sum(cls, deltas: Iterable[Delta]) -> Delta:
        """All of them, in the order given, as :meth:`Factored.sum` adds."""
        layers: dict[int, list[Factored]] = {}
        weights: dict[str, list[Factored]] = {}
        for delta in deltas:
            for layer, part in delta.layers.items():
                layers.setdefault(layer, []).append(part)
            for name, part in delta.weights.items():
                weights.setdefault(name, []).append(part)
        return cls(
            {layer: Factored.sum(parts) for layer, parts in layers.items()},
            {name: Factored.sum(parts) for name, parts in weights.items()},
        )

    def __neg__(self) -> Delta:
        """Every weight with its sign changed."""
        return self.each(Factored.__neg__)

    def __sub__(self, other: Delta) -> Delta:
        """Weight by weight."""
        return self + -other

    def compress(self, *, rank: int | None = None, energy: float | None = None) -> Delta:
        """Every weight cut as :meth:`Factored.compress` does."""
        return self.each(lambda part: part.compress(rank=rank, energy=energy))


def _sum(one: Mapping[Key, Factored], other: Mapping[Key, Factored]) -> dict[Key, Factored]:
    total = dict(one)
    for key, part in other.items():
        total[key] = total[key] + part if key in total else part
    return total


def delta_to_bytes(delta: Delta, metadata: dict[str, Any]) -> bytes:
    """A delta as safetensors bytes: ``layer.N.left`` (u, r) and ``layer.N.right`` (r, v), float32.

    Other weights are ``weight.NAME.left`` and ``weight.NAME.right``. That is 4 (u + v) bytes per
    weight and rank plus the header. Equal deltas and metadata have equal bytes. Raises
    :class:`DeltaError` where a value is not finite in float32.
    """
    tensors: dict[str, Tensor] = {}
    named = {f"layer.{layer}": part for layer, part in delta.layers.items()}
    named |= {f"weight.{name}": part for name, part in delta.weights.items()}
    for name, part in named.items():
        for side, factor in (("left", part.left), ("right", part.right)):
            stored = factor.to(torch.float32).contiguous()
            if not bool(torch.isfinite(stored).all()):
                raise DeltaError(
                    f"the {side} factor of {name.replace('.', ' ', 1)} is not finite in float32",
                    hint="`editvc health` names the edit that is out of range.",
                )
            tensors[f"{name}.{side}"] = stored
    data: bytes = save(tensors, metadata={METADATA_KEY: canonical_json(metadata).decode()})
    return data


def delta_from_bytes(data: bytes) -> tuple[Delta, dict[str, Any]]:
    """The inverse of :func:`delta_to_bytes`, in float64, with the metadata.

    Raises :class:`DeltaDamageError` for bytes that are no delta.
    """
    try:
        tensors = load(data)
        (size,) = struct.unpack_from("<Q", data)
        metadata = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, struct.error) as error:
        raise DeltaDamageError(
            f"this is not a delta that editvc wrote: {error}", hint="Run `editvc fsck`."
        ) from error
    if unknown := sorted(name for name in tensors if _NAME.fullmatch(name) is None):
        raise DeltaDamageError(f"a delta holds no tensors {unknown}", hint="Run `editvc fsck`.")
    # A copy even where the dtype fits: views into the buffer need not be aligned, and BLAS may
    # round differently for operands that are not.
    wide = {name: tensor.to(torch.float64, copy=True) for name, tensor in tensors.items()}
    names = {name.rpartition(".")[0] for name in wide}
    try:
        parts = {name: Factored(wide[f"{name}.left"], wide[f"{name}.right"]) for name in names}
    except (KeyError, DeltaError) as error:
        raise DeltaDamageError(
            f"the factors of a delta do not fit: {error}", hint="Run `editvc fsck`."
        ) from error
    split = {name: name.split(".", 1) for name in names}
    layers = {int(end): parts[name] for name, (kind, end) in split.items() if kind == "layer"}
    weights = {end: parts[name] for name, (kind, end) in split.items() if kind == "weight"}
    return Delta(layers, weights), metadata
