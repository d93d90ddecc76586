"""The algebra of a set of edits: from keys and residuals to the delta of a layer, exactly.

Notation of the papers, one layer at a time: K (v, n) keys, R (u, n) residuals, one column an edit;
C (v, v) the second moment that guards what is not edited, already times lambda (and, with entity
keys, summed); ``A = C + K K^T``. The solution of MEMIT, and of D4S kept as two sums, is

    Delta = R K^T A^-1

With ``C = F F^T`` and whitened keys ``Q = F^-1 K`` it has two forms that never invert A:

    dual     R (I + Q^T Q)^-1 Q^T F^-1         n x n
    primal   R Q^T (I + Q Q^T)^-1 F^-1         v x v

The solvers of other methods are this one with another ridge in the place of I, with edits scaled or
normalised before they enter, or with another preconditioner in the place of F^-1 (:data:`SOLVERS`).

Everything is float64, and a pure function of the bits given: sums run in the order of the columns,
which is the caller's to fix (by edit id). Nothing here mutates its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.preconditioners import Preconditioner, SolveError, plus_diagonal, row_major
from editvc.core.methods.locate import LocatedRecipe

PRIMAL_FROM = 1.0
"""From n = PRIMAL_FROM x v edits on the primal form is the cheaper one. Measured on one core with
the whitening at hand, u = v / 4: n = v / 2 takes 0.23 s dual and 0.45 s primal at v = 1536, n = v
the same 0.7 s, n = 2 v takes 1.6 s and 0.8 s; at v = 3072 the forms cross at n = v too."""

EMMET_LAMBDA = 0.1
"""What EMMET's files call ``emmet_lambda``: added to the diagonal of ``K^T C^-1 K``, which is about
v there. It lets two edits of nearly one key share it, where exact constraints would contradict."""

_TINY = 1e-30


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
        object.__setattr__(self, "keys", row_major(keys))
        object.__setattr__(self, "residuals", row_major(residuals))

    @classmethod
    def empty(cls, u: int, v: int) -> Edits:
        """No edits at all."""
        return cls(torch.zeros(v, 0, dtype=torch.float64), torch.zeros(u, 0, dtype=torch.float64))

    def __len__(self) -> int:
        return self.keys.shape[1]


def solve(keys: Tensor, residuals: Tensor, preconditioner: Preconditioner) -> Factored:
    """``Delta = R K^T (C + K K^T)^-1`` for keys (v, n) and residuals (u, n), float64.

    The rank is n, or min(u, v) where n exceeds it. Raises :class:`SolveError` for shapes and values
    that have no solution.
    """
    return System.of(Edits(keys, residuals), preconditioner).solution


@dataclass(frozen=True, eq=False)
class System:
    """The equations of a set S of edits in one layer: what its solution, figures and changes share.

    ``primal`` is the form they are kept in, ``ridge`` what stands in the place of I. Whitening and
    factoring cost nearly all the time, so each part is computed when it is first asked for, and
    kept.
    """

    edits: Edits
    preconditioner: Preconditioner
    primal: bool
    ridge: float = 1.0

    @classmethod
    def of(cls, edits: Edits, preconditioner: Preconditioner) -> System:
        """In the form that is cheaper for the number of edits: the same numbers."""
        return cls(edits, preconditioner, primal=len(edits) >= PRIMAL_FROM * edits.keys.shape[0])

    @cached_property
    def whitened(self) -> Tensor:
        """Q, (m, n): m = v, or what a projection leaves of it."""
        return self.preconditioner.apply_left(self.edits.keys)

    @cached_property
    def lower(self) -> Tensor:
        """Cholesky factor of ``I + Q^T Q`` (n, n), or of ``I + Q Q^T`` (m, m) where primal."""
        whitened = self.whitened  # (m, n)
        gram = whitened @ whitened.T if self.primal else whitened.T @ whitened
        return _cholesky(plus_diagonal(gram, self.ridge), "I + G")

    def self_response(self, leverages: Tensor) -> Tensor:
        """The share of its residual that an edit gets alone, for leverages q: ``q / (1 + q)``."""
        return leverages / (self.ridge + leverages)

    @cached_property
    def solution(self) -> Factored:
        """``Delta(S)``, of rank n, or min(u, v) where n exceeds it."""
        residuals, preconditioner = self.edits.residuals, self.preconditioner
        if self.primal:
            solved = torch.cholesky_solve(self.whitened @ residuals.T, self.lower)  # (m, u)
            return Factored.of_dense(preconditioner.apply_right(solved.T.contiguous()))  # (u, v)
        solved = torch.cholesky_solve(residuals.T.contiguous(), self.lower)  # (n, u)
        weights = solved.T.contiguous()
        if len(self.edits) < residuals.shape[0]:  # n < u
            return Factored(weights, preconditioner.apply_right(self.whitened.T.contiguous()))
        return Factored.of_dense(preconditioner.apply_right(weights @ self.whitened.T))

    def change(self, removed: Edits, added: Edits) -> Factored:
        """``Delta(S + added) - Delta(S + removed)``, of rank ``len(removed) + len(added)``."""
        return self._addition(added) - self._addition(removed)

    def _addition(self, edits: Edits) -> Factored:
        """``Delta(S + D) - Delta(S)``, of rank len(D).

        The block form of recursive least squares (Sherman-Morrison for one edit):

            (R_D - Delta_S K_D) M^-1 K_D^T A_S^-1,    M = I + K_D^T A_S^-1 K_D
        """
        whitened = self.preconditioner.apply_left(edits.keys)  # Q_D (m, d)
        if self.primal:
            solved = torch.cholesky_solve(whitened, self.lower)  # (m, d)
            predicted = (self.edits.residuals @ self.whitened.T) @ solved  # (u, d)
            gain = self.ridge * solved
        else:
            shared = torch.cholesky_solve(self.whitened.T @ whitened, self.lower)  # (n, d)
            gain = whitened - self.whitened @ shared  # (m, d)
            predicted = self.edits.residuals @ shared  # (u, d)
        # gain = (I + Q Q^T)^-1 Q_D, so that A_S^-1 K_D = F^-T gain, and predicted = Delta_S K_D.
        gram = whitened.T @ gain  # (d, d)
        lower = _cholesky(plus_diagonal((gram + gram.T) / 2, self.ridge), "M")
        rows = torch.cholesky_solve(gain.T.contiguous(), lower)  # (d, m)
        return Factored(edits.residuals - predicted, self.preconditioner.apply_right(rows))


@dataclass(frozen=True, slots=True)
class Solver:
    """How a set of edits becomes weights: a row of :data:`SOLVERS`.

    ``weight`` counts every edit that many times, its residual ``pull`` of these times, ``ridge``
    stands in the place of I, ``sums`` keeps the equations as v x v and u x v sums whatever the
    number of edits. With a ``step``, gradients :func:`normalised` over the set enter in the place
    of residuals.
    """

    weight: float = 1.0
    pull: float = 1.0
    ridge: float = 1.0
    sums: bool = False
    step: float | None = None

    def system(self, edits: Edits, preconditioner: Preconditioner) -> System:
        """The equations of a set of edits."""
        prepared = self._prepared(edits)
        primal = self.sums or System.of(prepared, preconditioner).primal
        return System(prepared, preconditioner, primal and self.ridge == 1.0, self.ridge)

    def terms(self, edits: Edits, preconditioner: Preconditioner) -> list[Factored]:
        """The solution of a set as a sum of one term of rank 1 an edit, in the order given.

        ``r_i g_i^T``, with the rows of ``G = (I + Q^T Q)^-1 Q^T F^-1``.
        """
        prepared = self._prepared(edits)
        system = System(prepared, preconditioner, primal=False, ridge=self.ridge)
        solved = torch.cholesky_solve(system.whitened.T.contiguous(), system.lower)  # (n, m)
        rows = preconditioner.apply_right(solved)  # (n, v)
        return [
            Factored(prepared.residuals[:, i : i + 1].contiguous(), rows[i : i + 1].contiguous())
            for i in range(len(edits))
        ]

    def change(self, system: System, edits: Edits, removed: Edits, added: Edits) -> Factored:
        """``Delta(S + added) - Delta(S + removed)`` for the system of the edits S.

        Of rank ``len(removed) + len(added)``, but where the edits are normalised over the set:
        there every edit changes with every other one.
        """
        if self.step is None:
            return system.change(self._prepared(removed), self._prepared(added))
        after, before = (
            self.system(_joined(edits, others), system.preconditioner).solution
            for others in (added, removed)
        )
        return after - before

    def self_response(self, leverages: Tensor) -> Tensor:
        """The share of its residual that an edit gets alone, for leverages q."""
        counted = self.weight * leverages
        return self.pull * counted / (self.ridge + counted)

    def _prepared(self, edits: Edits) -> Edits:
        """The edits as they enter the equations."""
        if self.step is not None:
            return normalised(edits, self.step)
        if self.weight == self.pull == 1.0:
            return edits
        root = self.weight**0.5
        return Edits(edits.keys * root, edits.residuals * (root * self.pull))


SOLVERS = {
    "ridge": Solver(),
    "sums": Solver(sums=True),
    "equality": Solver(ridge=EMMET_LAMBDA),
    "doubled": Solver(weight=2.0),
    "counted": Solver(weight=2.0, pull=0.5),
    "nullspace": Solver(),
    "normalised": Solver(step=1e-6),
}
"""The solvers that rows of :mod:`editvc.core.methods.table` name.

- ridge: ``R K^T (lambda C + K K^T)^-1`` (MEMIT, PMET).
- sums: the same from the sums ``R Q^T`` and ``Q Q^T`` (D4S).
- equality: ``R (K^T C^-1 K + 0.1 I)^-1 K^T C^-1``: every constraint met (EMMET; ROME for one edit).
- doubled: ``(V2 - 3 W0 K) K^T (lambda C + 2 K K^T)^-1`` with ``V2 = 2 V + W0 K`` (AdaPLE, as
  repaired here).
- counted: ``R K^T (lambda C + 2 K K^T)^-1`` (AdaPLE, equation 4).
- nullspace: ``R K^T P (K K^T P + L2 I)^-1`` (AlphaEdit).
- normalised: ``V H^T (H H^T + I)^-1``, V normalised over the set (UltraEdit).
"""


def solver_of(recipe: LocatedRecipe) -> Solver:
    """The solver of a located method, with the recipe's step where it takes one."""
    solver = SOLVERS[recipe.row.solver]
    return solver if solver.step is None else replace(solver, step=recipe.lr)


def normalised(edits: Edits, step: float) -> Edits:
    """UltraEdit's edits from the keys H (v, n) and output gradients G (u, n) of a set.

    Keys stay; the value of an edit is ``-step |h^|^2 g^``, where h^ and g^ are h and g with every
    feature brought to mean 0 and variance 1 over the set: the lifelong normaliser of the paper, of
    the set instead of what has arrived so far (Gu et al. 2025, arXiv 2505.14679, section 3).
    """
    keys, gradients = standardised(edits.keys), standardised(edits.residuals)
    return Edits(edits.keys, -step * keys.square().sum(dim=0) * gradients)


def standardised(features: Tensor) -> Tensor:
    """Rows of (features, n) brought to mean 0 and variance 1.

    One column alone has no variance; it is brought to a mean square of 1. A feature that is the
    same in every column tells nothing, and becomes 0.
    """
    if features.shape[1] < 2:
        return features / features.square().mean().sqrt().clamp_min(_TINY)
    centred = features - features.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(deviation > _TINY, centred / deviation, torch.zeros_like(centred))


def _joined(one: Edits, other: Edits) -> Edits:
    return Edits(
        torch.cat([one.keys, other.keys], dim=1),
        torch.cat([one.residuals, other.residuals], dim=1),
    )


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
