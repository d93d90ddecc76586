"""What edits are weighed against: linear maps under which the keys that are guarded become equal.

One layer at a time: C (v, v) is the second moment of the keys that are not edited, already times
lambda where a method weighs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from editvc.algebra.tensor_file import pack_tensors, unpack_tensors
from editvc.errors import DamageError, EditvcError

JITTERS = (0.0, 1e-10, 1e-6)
"""Tried in turn on the diagonal of a moment that is not numerically positive definite, as shares of
its mean diagonal: the second is enough for rounding in float64; the third for a moment of fewer
samples than dimensions that was stored in float32."""

ALIGNMENT = 64
"""Bytes; what torch's own allocations have, so that only foreign memory is copied."""


class SolveError(EditvcError):
    """Keys, residuals or a moment that have no solution; the message says which and why."""


class Preconditioner(Protocol):
    """A linear map F^-1 from keys to the space in which edits are weighed against each other."""

    def apply_left(self, keys: Tensor) -> Tensor:
        """``F^-1 K``: (v, n) to (m, n)."""

    def apply_right(self, rows: Tensor) -> Tensor:
        """``X F^-1`` for rows X: (r, m) to (r, v)."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """The factor F of a moment, lower triangular (v, v) float64, ``F F^T = lambda C``.

    ``jitter`` is what was added to the diagonal to make the moment positive definite; mostly 0.
    """

    lower: Tensor
    jitter: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", row_major(self.lower))

    @classmethod
    def of(cls, moment: Tensor, *, name: str = "") -> Whitening:
        """Factor a (v, v) moment, lambda included.

        A moment that is not positive definite in float64 gets the first of ``JITTERS`` that helps,
        times its mean diagonal, added to the diagonal (kept in ``jitter``); else it raises
        :class:`SolveError` naming ``name`` (such as "layer 3").
        """
        where = f" of {name}" if name else ""
        if moment.ndim != 2 or moment.shape[0] != moment.shape[1]:
            raise SolveError(f"the moment{where} is not square: {tuple(moment.shape)}")
        moment = row_major(moment)
        scale = float(moment.diagonal().mean())
        if not bool(torch.isfinite(moment).all()) or scale <= 0:
            raise SolveError(
                f"the second moment{where} is not finite and positive",
                hint="Compute the statistics again: `editvc stats compute`.",
            )
        for jitter in (share * scale for share in JITTERS):
            lower, info = torch.linalg.cholesky_ex(plus_diagonal(moment, jitter))
            if int(info) == 0:
                return cls(lower, jitter)
        raise SolveError(
            f"the second moment{where} is not positive definite "
            f"(even with {JITTERS[-1]:g} of its mean diagonal added)",
            hint="It needs more tokens than dimensions: `editvc stats compute` with more text.",
        )

    def apply_left(self, keys: Tensor) -> Tensor:
        """``F^-1 K``: (v, n) to (v, n)."""
        whitened: Tensor = torch.linalg.solve_triangular(self.lower, keys, upper=False)  # (v, n)
        return whitened

    def apply_right(self, rows: Tensor) -> Tensor:
        """``X F^-1`` for rows X: (r, v) to (r, v)."""
        solved: Tensor = torch.linalg.solve_triangular(self.lower, rows, upper=False, left=False)
        return solved

    def to_bytes(self) -> bytes:
        """For the cache: a safetensors file with ``lower`` and ``jitter``."""
        jitter = torch.tensor([self.jitter], dtype=torch.float64)
        return pack_tensors({"lower": self.lower, "jitter": jitter})

    @classmethod
    def from_bytes(cls, data: bytes) -> Whitening:
        """The inverse of :meth:`to_bytes`, bit for bit. Raises ``WhiteningDamageError``."""
        tensors = _unpacked(data, "whitening factor", {"lower", "jitter"})
        return cls(tensors["lower"], float(tensors["jitter"]))


class WhiteningDamageError(DamageError):
    """Bytes that are no whitening factor, or no projection."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The null space of ordinary keys, as AlphaEdit has it: ``basis`` (v, m) float64.

    Its columns are the eigenvectors of C whose eigenvalues lie below a threshold, over the root of
    the ridge ``L2``. With it in the place of ``F^-1``, the solution of this module is AlphaEdit's

        Delta = R K^T P (K K^T P + L2 I)^-1,    P = U U^T

    (Fang et al. 2025, arXiv 2410.02355, equation 14, with all keys of the set).
    """

    basis: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "basis", row_major(self.basis))

    @classmethod
    def of(cls, moment: Tensor, threshold: float, l2: float, *, name: str = "") -> Projection:
        """From C (v, v), with lambda 1. Raises :class:`SolveError` where nothing is left free."""
        values, vectors = torch.linalg.eigh(row_major(moment))  # (v,), (v, v)
        free = vectors[:, values < threshold]  # (v, m)
        if not free.shape[1]:
            raise SolveError(
                f"no direction of the second moment of {name} has an eigenvalue below {threshold:g}"
                f" (the smallest is {float(values[0]):.3g})",
                hint=f"Raise it: -O nullspace_threshold={2 * float(values[0]):.2g} or more.",
            )
        return cls(free / l2**0.5)

    def apply_left(self, keys: Tensor) -> Tensor:
        """``U^T K / sqrt(L2)``: (v, n) to (m, n)."""
        return self.basis.T @ keys

    def apply_right(self, rows: Tensor) -> Tensor:
        """``X U^T / sqrt(L2)``: (r, m) to (r, v)."""
        return rows @ self.basis.T

    def to_bytes(self) -> bytes:
        """For the cache: a safetensors file with ``basis``."""
        return pack_tensors({"basis": self.basis})

    @classmethod
    def from_bytes(cls, data: bytes) -> Projection:
        """The inverse of :meth:`to_bytes`, bit for bit. Raises ``WhiteningDamageError``."""
        return cls(_unpacked(data, "projection", {"basis"})["basis"])


class IdentityPreconditioner:
    """No preconditioner: keys are weighed as they are (UltraEdit)."""

    def apply_left(self, keys: Tensor) -> Tensor:
        """The keys themselves."""
        return keys

    def apply_right(self, rows: Tensor) -> Tensor:
        """The rows themselves."""
        return rows


def _unpacked(data: bytes, what: str, names: set[str]) -> dict[str, Tensor]:
    """The tensors of a cached file, which must be those of these names."""

    def damage(problem: str) -> WhiteningDamageError:
        return WhiteningDamageError(
            f"a cached {what} cannot be read: {problem}",
            hint="Delete .editvc/cache; it is computed again.",
        )

    tensors = unpack_tensors(data, damage)
    if tensors.keys() != names:
        raise damage(f"it holds {sorted(tensors)}")
    return tensors


def plus_diagonal(matrix: Tensor, amount: float) -> Tensor:
    """A copy with ``amount`` added along the diagonal."""
    moved = matrix.clone()
    moved.diagonal().add_(amount)
    return moved


def row_major(matrix: Tensor) -> Tensor:
    """The values in aligned, row-major float64 memory: themselves, or a copy.

    BLAS may round differently for other layouts and alignments, and equal values must give equal
    bits wherever they came from (a computation, a file, a slice of something larger).
    """
    aligned = matrix.is_contiguous() and matrix.data_ptr() % ALIGNMENT == 0
    if aligned and matrix.dtype == torch.float64:
        return matrix
    return torch.empty(matrix.shape, dtype=torch.float64).copy_(matrix)
