"""The algebra of a set of edits: from keys and residuals to the delta of a layer, exactly.

Notation of the papers, one layer at a time: K (v, n) keys, R (u, n) residuals, one column an edit;
C (v, v) the second moment that guards what is not edited, already times lambda (and, with entity
keys, summed); ``A = C + K K^T``. The solution of MEMIT, and of D4S kept as two sums, is

    Delta = R K^T A^-1

With ``C = F F^T`` and whitened keys ``Q = F^-1 K`` it has two forms that never invert A:

    dual     R (I + Q^T Q)^-1 Q^T F^-1         n x n
    primal   R Q^T (I + Q Q^T)^-1 F^-1         v x v

Everything is float64, and a pure function of the bits given: sums run in the order of the columns,
which is the caller's to fix (by edit id). Nothing here mutates its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from editvc.editing.delta import Factored
from editvc.errors import DamageError, EditvcError

JITTERS = (0.0, 1e-10, 1e-6)
"""Tried in turn on the diagonal of a moment that is not numerically positive definite, as shares of
its mean diagonal: the second is enough for rounding in float64; the third for a moment of fewer
samples than dimensions that was stored in float32."""

PRIMAL_FROM = 1.0
"""From n = PRIMAL_FROM x v edits on the primal form is the cheaper one. Measured on one core with
the whitening at hand, u = v / 4: n = v / 2 takes 0.23 s dual and 0.45 s primal at v = 1536, n = v
the same 0.7 s, n = 2 v takes 1.6 s and 0.8 s; at v = 3072 the forms cross at n = v too."""

ALIGNMENT = 64
"""Bytes; what torch's own allocations have, so that only foreign memory is copied."""


class SolveError(EditvcError):
    """Keys, residuals or a moment that have no solution; the message says which and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Edits:
    """The numbers of n edits in one layer: keys (v, n) and residuals (u, n), float64."""

    keys: Tensor
    residuals: Tensor

    def __post_init__(self) -> None:
        keys, residuals = self.keys, self.residuals
        if keys.ndim != 2 or residuals.ndim != 2 or keys.shape[1] != residuals.shape[1]:
            raise SolveError(
                f"keys (v, n) and residuals (u, n) need one column per edit, "
                f"got {tuple(keys.shape)} and {tuple(residuals.shape)}"
            )
        if keys.dtype != torch.float64 or residuals.dtype != torch.float64:
            raise SolveError(f"edits must be float64, got {keys.dtype} and {residuals.dtype}")
        for name, values in (("keys", keys), ("residuals", residuals)):
            if not bool(torch.isfinite(values).all()):
                column = int((~torch.isfinite(values)).any(dim=0).nonzero()[0])
                raise SolveError(f"the {name} of edit {column} are not finite")
        object.__setattr__(self, "keys", _row_major(keys))
        object.__setattr__(self, "residuals", _row_major(residuals))

    @classmethod
    def empty(cls, u: int, v: int) -> Edits:
        """No edits at all."""
        return cls(torch.zeros(v, 0, dtype=torch.float64), torch.zeros(u, 0, dtype=torch.float64))

    def __len__(self) -> int:
        return self.keys.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """The factor F of a moment, lower triangular (v, v) float64, ``F F^T = lambda C``.

    ``jitter`` is what was added to the diagonal to make the moment positive definite; mostly 0.
    """

    lower: Tensor
    jitter: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", _row_major(self.lower))

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
        moment = _row_major(moment)
        scale = float(moment.diagonal().mean())
        if not bool(torch.isfinite(moment).all()) or scale <= 0:
            raise SolveError(
                f"the second moment{where} is not finite and positive",
                hint="Compute the statistics again: `editvc stats compute`.",
            )
        for jitter in (share * scale for share in JITTERS):
            lower, info = torch.linalg.cholesky_ex(_plus_diagonal(moment, jitter))
            if int(info) == 0:
                return cls(lower, jitter)
        raise SolveError(
            f"the second moment{where} is not positive definite "
            f"(even with {JITTERS[-1]:g} of its mean diagonal added)",
            hint="It needs more tokens than dimensions: `editvc stats compute` with more text.",
        )

    def whiten(self, keys: Tensor) -> Tensor:
        """``F^-1 K``: (v, n) to (v, n)."""
        whitened: Tensor = torch.linalg.solve_triangular(self.lower, keys, upper=False)
        return whitened

    def unwhiten_rows(self, rows: Tensor) -> Tensor:
        """``X F^-1`` for rows X: (m, v) to (m, v)."""
        solved: Tensor = torch.linalg.solve_triangular(self.lower, rows, upper=False, left=False)
        return solved

    def to_bytes(self) -> bytes:
        """For the cache: a safetensors file with ``lower`` and ``jitter``."""
        jitter = torch.tensor([self.jitter], dtype=torch.float64)
        data: bytes = save({"lower": self.lower, "jitter": jitter})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Whitening:
        """The inverse of :meth:`to_bytes`, bit for bit. Raises ``WhiteningDamageError``."""
        try:
            tensors = load(data)
            return cls(tensors["lower"], float(tensors["jitter"]))
        except (SafetensorError, KeyError) as error:
            raise WhiteningDamageError(
                f"a cached whitening factor cannot be read: {error}",
                hint="Delete .editvc/cache; it is computed again.",
            ) from error


class WhiteningDamageError(DamageError):
    """Bytes that are no whitening factor."""


def solve(keys: Tensor, residuals: Tensor, whitening: Whitening) -> Factored:
    """``Delta = R K^T (C + K K^T)^-1`` for keys (v, n) and residuals (u, n), float64.

    The rank is n, or min(u, v) where n exceeds it. Raises :class:`SolveError` for shapes and values
    that have no solution.
    """
    return System.of(Edits(keys, residuals), whitening).solution


@dataclass(frozen=True, eq=False)
class System:
    """The equations of a set S of edits in one layer: what its solution, figures and changes share.

    ``primal`` is the form they are kept in. Whitening and factoring cost nearly all the time, so
    each part is computed when it is first asked for, and kept.
    """

    edits: Edits
    whitening: Whitening
    primal: bool

    @classmethod
    def of(cls, edits: Edits, whitening: Whitening) -> System:
        """In the form that is cheaper for the number of edits: the same numbers."""
        return cls(edits, whitening, primal=len(edits) >= PRIMAL_FROM * edits.keys.shape[0])

    @cached_property
    def whitened(self) -> Tensor:
        """Q, (v, n)."""
        return self.whitening.whiten(self.edits.keys)

    @cached_property
    def lower(self) -> Tensor:
        """Cholesky factor of ``I + Q^T Q`` (n, n), or of ``I + Q Q^T`` (v, v) where primal."""
        whitened = self.whitened
        gram = whitened @ whitened.T if self.primal else whitened.T @ whitened
        return _cholesky(_plus_diagonal(gram, 1.0), "I + G")

    @cached_property
    def solution(self) -> Factored:
        """``Delta(S)``, of rank n, or min(u, v) where n exceeds it."""
        residuals, whitening = self.edits.residuals, self.whitening
        if self.primal:
            weights = torch.cholesky_solve(self.whitened @ residuals.T, self.lower).T.contiguous()
            return Factored.of_dense(whitening.unwhiten_rows(weights))
        weights = torch.cholesky_solve(residuals.T.contiguous(), self.lower).T.contiguous()
        if len(self.edits) < residuals.shape[0]:
            return Factored(weights, whitening.unwhiten_rows(self.whitened.T.contiguous()))
        return Factored.of_dense(whitening.unwhiten_rows(weights @ self.whitened.T))

    def change(self, removed: Edits, added: Edits) -> Factored:
        """``Delta(S + added) - Delta(S + removed)``, of rank ``len(removed) + len(added)``."""
        return self._addition(added) - self._addition(removed)

    def _addition(self, edits: Edits) -> Factored:
        """``Delta(S + D) - Delta(S)``, of rank len(D).

        The block form of recursive least squares (Sherman-Morrison for one edit):

            (R_D - Delta_S K_D) M^-1 K_D^T A_S^-1,    M = I + K_D^T A_S^-1 K_D
        """
        fresh = self.whitening.whiten(edits.keys)
        if self.primal:
            apart = torch.cholesky_solve(fresh, self.lower)
            recalled = (self.edits.residuals @ self.whitened.T) @ apart
        else:
            shared = torch.cholesky_solve(self.whitened.T @ fresh, self.lower)
            apart = fresh - self.whitened @ shared
            recalled = self.edits.residuals @ shared
        # apart = (I + Q Q^T)^-1 Q_D, so that A_S^-1 K_D = F^-T apart, and recalled = Delta_S K_D.
        mixing = fresh.T @ apart
        lower = _cholesky(_plus_diagonal((mixing + mixing.T) / 2, 1.0), "M")
        rows = torch.cholesky_solve(apart.T.contiguous(), lower)
        return Factored(edits.residuals - recalled, self.whitening.unwhiten_rows(rows))


def _cholesky(matrix: Tensor, name: str) -> Tensor:
    """The lower factor of a matrix that is at least the identity, so only overflow can fail."""
    lower: Tensor
    lower, info = torch.linalg.cholesky_ex(matrix)
    if int(info) != 0:
        raise SolveError(
            f"{name} has no Cholesky factor: keys too large against the second moment",
            hint="Raise mom2_update_weight, or look for a key that is out of range.",
        )
    return lower


def _plus_diagonal(matrix: Tensor, amount: float) -> Tensor:
    """A copy with ``amount`` added along the diagonal."""
    moved = matrix.clone()
    moved.diagonal().add_(amount)
    return moved


def _row_major(matrix: Tensor) -> Tensor:
    """The values in aligned, row-major float64 memory: themselves, or a copy.

    BLAS may round differently for other layouts and alignments, and equal values must give equal
    bits wherever they came from (a computation, a file, a slice of something larger).
    """
    aligned = matrix.is_contiguous() and matrix.data_ptr() % ALIGNMENT == 0
    if aligned and matrix.dtype == torch.float64:
        return matrix
    return torch.empty(matrix.shape, dtype=torch.float64).copy_(matrix)
