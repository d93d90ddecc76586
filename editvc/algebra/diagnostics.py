"""What the algebra says about a set of edits, without a forward pass.

Notation as in :mod:`editvc.algebra.solvers`: K (v, n), R (u, n), ``Q = F^-1 K``, ``G = Q^T Q``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.solvers import System


def leverage(whitened: Tensor) -> Tensor:
    """``k^T (lambda C)^-1 k`` of whitened keys ``F^-1 k``, columns of (m, n): (n,).

    How far out each key lies among the guarded ones.
    """
    return whitened.square().sum(dim=0)


def share_kept(delta: Factored, system: System) -> Tensor:
    """How much each edit keeps, under any delta D, of what it would get alone: (n,).

    Alone an edit gets ``r q / (1 + q)`` at its key, with its leverage q; so that is
    ``<r, D k> / |r|^2 * (1 + q) / q``. 1 is all of it, 0 nothing, negative the opposite of what was
    asked. An edit that gets nothing alone (its residual or its key is zero) loses nothing: 1.
    """
    edits, shares = system.edits, system.self_response(leverage(system.whitened))
    response = (edits.residuals * (delta @ edits.keys)).sum(dim=0)  # (n,)
    self_response = edits.residuals.square().sum(dim=0) * shares  # (n,)
    return torch.where(self_response > 0, response / self_response, torch.ones_like(self_response))


def capacity(system: System) -> float:
    """``tr G (I + G)^-1``: effective number of directions in use, at most min(n, v).

    With the system's ridge in the place of I. G may be ``Q^T Q`` or ``Q Q^T``, whichever the system
    is kept in.
    """
    # tr G (I + G)^-1 = n - tr (I + G)^-1, and tr (L L^T)^-1 = |L^-1|^2: no eigenvalues needed.
    lower = system.lower  # (n, n), or (m, m) where primal
    eye = torch.eye(len(lower), dtype=lower.dtype)
    inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
    return len(lower) - system.ridge * float(inverse.square().sum())
