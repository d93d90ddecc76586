"""The slow, obvious formulas that the fast ones are checked against."""

from __future__ import annotations

import torch
from tolerances import assert_near, rounding, size
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.solvers import Edits


def dense_solution(edits: Edits, moment: Tensor) -> Tensor:
    """R K^T (C + K K^T)^-1, as MEMIT's paper has it; the moment is lambda C."""
    total = moment + edits.keys @ edits.keys.T
    return edits.residuals @ edits.keys.T @ torch.linalg.inv(total)


def random_edits(u: int, v: int, n: int, draw: torch.Generator, scale: float = 1.0) -> Edits:
    """Gaussian keys of that scale, Gaussian residuals."""
    return Edits(
        scale * torch.randn(v, n, generator=draw, dtype=torch.float64),
        torch.randn(u, n, generator=draw, dtype=torch.float64),
    )


def random_moment(v: int, draw: torch.Generator, weight: float = 1.0) -> Tensor:
    """A well-conditioned second moment times ``weight``, of keys with unequal variances."""
    spread = torch.logspace(-1, 0.5, v, dtype=torch.float64)[:, None]
    keys = spread * torch.randn(v, 4 * v, generator=draw, dtype=torch.float64)
    return weight * (keys @ keys.T) / (4 * v)


def joined(one: Edits, other: Edits) -> Edits:
    """The edits of both, one's columns first."""
    return Edits(
        torch.cat([one.keys, other.keys], dim=1),
        torch.cat([one.residuals, other.residuals], dim=1),
    )


U, V = 6, 14


def factored(u: int, v: int, r: int, seed: int = 0) -> Factored:
    """A random (u, v) matrix of r columns and rows."""
    draw = torch.Generator().manual_seed(seed)
    return Factored(
        torch.randn(u, r, generator=draw, dtype=torch.float64),
        torch.randn(r, v, generator=draw, dtype=torch.float64),
    )


def close(actual: object, expected: object, *parts: Factored, times: float = 1.0) -> None:
    """To rounding, relative to the factors: where those cancel, the matrix may be far smaller.

    Products, QR and SVD of factors err by as many roundings as the factors have numbers at most
    (H. 3.5, 19.4). ``times`` is the size of what else is multiplied in.
    """
    terms = sum(part.left.numel() + part.right.numel() for part in parts)
    scale = sum(size(part.left) * size(part.right) for part in parts)
    assert_near(actual, expected, rounding(terms), scale * times)
