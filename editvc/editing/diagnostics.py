"""What the algebra says about a set of edits, without a forward pass.

Notation as in :mod:`editvc.editing.solvers`: K (v, n), R (u, n), ``Q = F^-1 K``, ``G = Q^T Q``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from editvc.editing.delta import Factored
from editvc.editing.solvers import Edits, System


def attenuation_under(delta: Factored, edits: Edits) -> Tensor:
    """``R - D K``, (u, n), for any delta D, such as a restrained one."""
    return edits.residuals - delta @ edits.keys


def share_kept(residuals: Tensor, lost: Tensor) -> Tensor:
    """How much of each residual the weights give back: ``1 - <r_i, lost_i> / |r_i|^2``, (n,).

    1 is all of it, 0 nothing, negative the opposite of what was asked. A residual of zero asks for
    nothing and counts as kept.
    """
    squares = residuals.square().sum(dim=0)
    safe = torch.where(squares > 0, squares, torch.ones_like(squares))
    return 1 - (residuals * lost).sum(dim=0) / safe


def leverage(whitened: Tensor) -> Tensor:
    """``k^T (lambda C)^-1 k`` of whitened keys ``F^-1 k`` (v, m): (m,).

    How far out each key lies among the guarded ones.
    """
    return whitened.square().sum(dim=0)


def capacity(system: System) -> float:
    """``tr G (I + G)^-1``: effective number of directions in use, at most min(n, v).

    G may be ``Q^T Q`` or ``Q Q^T``, whichever the system is kept in.
    """
    # tr G (I + G)^-1 = n - tr (I + G)^-1, and tr (L L^T)^-1 = |L^-1|^2: no eigenvalues needed.
    lower = system.lower
    eye = torch.eye(len(lower), dtype=lower.dtype)
    inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
    return len(lower) - float(inverse.square().sum())
