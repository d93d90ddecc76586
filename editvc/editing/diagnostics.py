"""What the dual form says about a set of edits, without a forward pass.

Notation as in :mod:`editvc.editing.solvers`: K (v, n), R (u, n), ``Q = F^-1 K``, ``G = Q^T Q``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from editvc.editing.delta import Factored
from editvc.editing.solvers import Dual, Edits, SolveError, System, Whitening


def attenuation(dual: Dual, residuals: Tensor) -> Tensor:
    """What each edit does not get: ``R - Delta K = R (I + G)^-1``, (u, n)."""
    return dual.solve(residuals.T.contiguous()).T


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


def interference(dual: Dual) -> Tensor:
    """Cosine of every two whitened keys, ``G_ij / sqrt(G_ii G_jj)``, (n, n).

    Near 1 (or -1) two edits pull the same string; a key of zero interferes with nothing.
    """
    lengths = dual.gram.diagonal().sqrt()
    lengths = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    return dual.gram / (lengths[:, None] * lengths[None, :])


def blame_weights(dual: Dual, whitening: Whitening, keys: Tensor) -> Tensor:
    """``a(k) = (I + G)^-1 Q^T F^-1 k`` for keys (v, m): (n, m).

    The change of the layer's output at k is ``Delta k = sum_i r_i a_i(k)``.
    """
    return dual.solve(dual.whitened.T @ whitening.whiten(keys))


def contributions(residuals: Tensor, weights: Tensor) -> Tensor:
    """``r_i a_i(k)`` in column i, (u, n), for the blame weights (n,) of one key.

    The columns add up to ``Delta k``: the exact share of every edit in what the layer now says.
    """
    return residuals * weights


def leverage(keys: Tensor, whitening: Whitening) -> Tensor:
    """``k^T (lambda C)^-1 k`` for keys (v, m): (m,). How far out each lies among guarded keys."""
    return whitening.whiten(keys).square().sum(dim=0)


def ordinary_leverage(v: int, weight: float) -> float:
    """The mean leverage of the keys that the moment was made from: ``v / lambda``.

    Because ``E[k^T (lambda C)^-1 k] = tr(C^-1 C) / lambda``. With entity keys beside the text it is
    the mean over both, each by its own weight, and ``weight`` is the sum of the weights.
    """
    return v / weight


def drift(delta: Factored, weight: Tensor, moment: Tensor) -> float:
    """``tr(D C D^T) / tr(W C W^T)`` for W (u, v) and C (v, v) without lambda.

    The expected squared change of the layer's output on ordinary text, relative to that output's.
    Raises :class:`SolveError` where W gives nothing on ordinary text.
    """
    weight, moment = weight.to(torch.float64), moment.to(torch.float64)
    ordinary = float(((weight @ moment) * weight).sum())
    if ordinary <= 0:
        raise SolveError("the base weight has no output on the keys of its statistics")
    return delta.quadratic(moment) / ordinary


def capacity(system: System) -> float:
    """``tr G (I + G)^-1``: effective number of directions in use, at most min(n, v).

    G may be ``Q^T Q`` or ``Q Q^T``, whichever the system is kept in.
    """
    # tr G (I + G)^-1 = n - tr (I + G)^-1, and tr (L L^T)^-1 = |L^-1|^2: no eigenvalues needed.
    lower = system.lower
    eye = torch.eye(len(lower), dtype=lower.dtype)
    inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
    return len(lower) - float(inverse.square().sum())
