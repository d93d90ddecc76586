"""How far a sequence of edits has moved one weight, in every norm of the papers.

Notation: W (u, v) the weight before, D its change, ``W' = W + D``, all float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from editvc.algebra.layer_health import EPSILON, pearson
from editvc.algebra.restraints import extreme_singular_values


@dataclass(frozen=True, slots=True)
class WeightNorms:
    """The norms of one weight at one time.

    ``l1_norm`` sum of absolute entries of W' (D4S); ``change`` = ||D||_F; ``distance`` =
    ||D||_F / ||W||_F (ours, as in ``health``); ``distance_per_neuron`` = ||D||_F / v, with v the
    neurons that a down projection reads (Gupta et al., footnote 5); ``s_max`` and ``s_min``, the
    extreme singular values of W', and ``condition_number``, their ratio (PRUNE); ``s_max_change``
    that of D (PRUNE); ``correlation`` Pearson's, of the entries of W' and W (Lin et al.).
    """

    l1_norm: float
    change: float
    distance: float
    distance_per_neuron: float
    s_max: float
    s_min: float
    condition_number: float
    s_max_change: float
    correlation: float

    @classmethod
    def of(cls, weight: Tensor, change: Tensor) -> WeightNorms:
        """From W (u, v) and D (u, v). A ratio to nothing is 0."""
        moved = weight + change
        length, size = _length(change), _length(weight)
        s_max, s_min = extreme_singular_values(moved)
        floor = max(s_min, EPSILON * s_max)
        return cls(
            l1_norm=float(moved.abs().sum()),
            change=length,
            distance=length / size if size else 0.0,
            distance_per_neuron=length / weight.shape[1],
            s_max=s_max,
            s_min=s_min,
            condition_number=s_max / floor if floor else 1.0,
            s_max_change=spectral(change),
            correlation=pearson(moved, weight),
        )

    def to_json(self) -> dict[str, float]:
        """Every norm by name."""
        return asdict(self)


def spectral(matrix: Tensor) -> float:
    """The largest singular value of a (u, v) matrix; 0 of zeros.

    From the eigenvalues of the smaller square, which is exact for the largest.
    """
    tall = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(tall @ tall.T)[-1])))


def cosines(updates: Sequence[Tensor]) -> list[list[float]]:
    """Cosines between n updates of one shape, as flat vectors: (n, n), 0 beside an update of 0."""
    flat = torch.stack([update.flatten() for update in updates])  # (n, u v)
    products = flat @ flat.T
    lengths = products.diagonal().sqrt()
    scale = torch.outer(lengths, lengths)
    found: list[list[float]] = torch.where(scale > 0, products / scale, 0.0).tolist()
    return found


def _length(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix))
