"""What targets are shaped by: the Fisher information of hidden states, as a map of steps."""

from __future__ import annotations

import torch
from torch import Tensor


def shaping(fisher: Tensor, *, floor: float, power: float) -> Tensor:
    """``((1 - floor) F + floor I)^-power``, (u, u) float64, for F of trace u.

    Targets are sought as ``delta = B y``: the step in a direction is the smaller, the more a push
    in it changes what is said of other things.
    """
    eye = torch.eye(fisher.shape[0], dtype=torch.float64)
    values, vectors = torch.linalg.eigh((1 - floor) * fisher.to(torch.float64) + floor * eye)
    shaped: Tensor = (vectors * values**-power) @ vectors.T
    return shaped
