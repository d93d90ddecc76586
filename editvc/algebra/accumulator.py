"""D4S's store: the two sums of a layer, in a space that does not grow with the edits.

D4S (Huang et al. 2024, arXiv 2410.23843, equations 8 to 11) keeps ``sum_i r_i k_i^T`` (u, v) and
``sum_i k_i k_i^T`` (v, v) and forgets keys and residuals. As floating-point sums they depend on the
order of edits, and what is taken out again leaves its rounding behind. Here they are kept in fixed
point: every product is rounded once to a multiple of ``2^-bits``, and whole numbers are added.
Such sums are exact, so the store is a function of the *set* of edits: any order gives the same
bits, and taking an edit out again gives the very bits from before it. What must be brought for that
is the edit's key and residual, which the store no longer has: they come from the base once more,
where an edit is located apart from all others, or from the stored element. The facts are listed, so
that nobody takes out what is not in.

The rounding of n products is at most ``n 2^-(bits + 1)`` an entry of a sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import frexp

import torch
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.preconditioners import SolveError
from editvc.algebra.solvers import Edits
from editvc.errors import EditvcError

WHOLE_BITS = 62
"""Bits of a sum beside its sign, one kept back so that no addition can overflow unseen."""

ROOM = 16
"""Bits that sums may grow by: 65,536 edits of the largest product that a store is made for, and far
more of usual ones. The rest of the bits tells small products from each other."""


class AccumulatorError(EditvcError):
    """An edit that cannot be added to sums or taken out of them; the message says which and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Accumulator:
    """The sums of one layer: ``rk`` (u, v) and ``kk`` (v, v) int64, in units of ``2^-bits``.

    ``facts`` are the ids of the edits that are in, in rising order: a set. All else has one size
    whatever their number. Nothing is changed in place.
    """

    rk: Tensor
    kk: Tensor
    bits: int
    facts: tuple[str, ...] = ()

    @classmethod
    def empty(cls, u: int, v: int, largest: float) -> Accumulator:
        """No edits yet; ``largest`` bounds the entries of keys and residuals that will come."""
        exponent = frexp(largest * largest)[1]  # largest^2 < 2^exponent
        whole = torch.int64
        return cls(
            torch.zeros(u, v, dtype=whole), torch.zeros(v, v, dtype=whole),
            WHOLE_BITS - ROOM - exponent,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.facts)

    def plus(self, facts: Iterable[str], edits: Edits) -> Accumulator:
        """With more edits, one column a fact. Raises :class:`AccumulatorError`."""
        names = tuple(facts)
        after = sorted((*self.facts, *names))
        if twice := sorted({one for one, other in pairwise(after) if one == other}):
            raise AccumulatorError(f"in the sums already, or named twice: {twice}")
        return self._moved(edits, 1, tuple(after))

    def minus(self, facts: Iterable[str], edits: Edits) -> Accumulator:
        """Without edits that are in: the very sums from before they came, whatever came since.

        ``edits`` have the keys and residuals that were added. Raises :class:`AccumulatorError`.
        """
        names = {*facts}
        if missing := sorted(names - {*self.facts}):
            raise AccumulatorError(f"not in the sums: {missing}")
        return self._moved(edits, -1, tuple(name for name in self.facts if name not in names))

    def solution(self, moment: Tensor) -> Factored:
        """``(sum r k^T) (C + sum k k^T)^-1`` for C (v, v) float64, lambda included (equation 13).

        Raises ``SolveError`` for a moment that is not positive definite.
        """
        unit = 2.0**-self.bits
        system = moment + self.kk.double() * unit  # (v, v)
        lower, info = torch.linalg.cholesky_ex(system)
        if int(info) != 0:
            raise SolveError(
                "the second moment with the sums of the edits is not positive definite",
                hint="It needs more tokens than dimensions: `editvc stats compute` with more text.",
            )
        solved = torch.cholesky_solve((self.rk.double() * unit).T.contiguous(), lower)  # (v, u)
        return Factored.of_dense(solved.T.contiguous())

    def _moved(self, edits: Edits, sign: int, facts: tuple[str, ...]) -> Accumulator:
        rk, kk = self.rk.clone(), self.kk.clone()
        room = 2.0 ** (WHOLE_BITS - ROOM)
        for key, residual in zip(edits.keys.T, edits.residuals.T, strict=True):
            for total, left in ((rk, residual), (kk, key)):
                products = torch.outer(left, key) * 2.0**self.bits
                total += sign * products.round().long()
                if not float(products.abs().max()) <= room or int(total.abs().max()) >> WHOLE_BITS:
                    raise AccumulatorError(
                        "an edit, or the sum of all, is larger than these sums were made for",
                        hint="Make them anew with a larger bound: `Accumulator.empty`.",
                    )
        return Accumulator(rk, kk, self.bits, facts)
