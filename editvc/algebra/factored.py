"""A matrix of low rank kept as two factors, until the moment it is added to a weight.

Shapes throughout: u = hidden size, v = inner size of the MLP, r = rank of the factors. The change
of one weight is ``left @ right`` with left (u, r) and right (r, v), both float64. Norms, singular
values and products are computed from the factors; only :meth:`Factored.dense` makes a u x v array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.errors import EditvcError


class DeltaError(EditvcError):
    """Factors that do not fit together, or that cannot be stored."""


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
        rank = rank_for(values, rank=rank, energy=energy)
        return Factored(left[:, :rank] * values[:rank], right[:rank].contiguous())


def rank_for(values: Tensor, *, rank: int | None = None, energy: float | None = None) -> int:
    """How many of the singular values (in falling order) a cut by rank or energy keeps."""
    if rank is not None and rank < 0:
        raise DeltaError(f"a rank cannot be negative, got {rank}")
    if energy is not None and not 0 < energy <= 1:
        raise DeltaError(
            f"energy must lie in (0, 1], got {energy}", hint="0.99 keeps 99% of the change."
        )
    count = len(values) if rank is None else min(rank, len(values))
    if energy is not None and energy < 1:
        squares = values.square()
        short = torch.cumsum(squares, 0) < energy * squares.sum()
        count = min(count, int(short.sum()) + 1 if squares.any() else 0)
    return count
