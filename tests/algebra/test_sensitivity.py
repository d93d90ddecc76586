"""Steps are the shorter, the more they change what the model says."""

from __future__ import annotations

import torch
from tolerances import assert_near, rounding

from editvc.algebra.sensitivity import shaping


def test_shaping_shortens_steps_where_the_model_is_sensitive():
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(root).Q
    values = torch.tensor([2.5, 0.5, 0.0], dtype=torch.float64)
    shaped = shaping(turn @ values.diag() @ turn.T, floor=0.1, power=0.25)
    steps = (0.9 * values + 0.1) ** -0.25
    # A root moves by less than its argument does, in relative terms; the smallest of these is 1/20
    # of the largest. The rest are products of three, and an eigendecomposition (H. 19.4, n^2).
    bound = rounding(3 * 3 * 3, scale=20)
    assert_near(shaped, turn @ steps.diag() @ turn.T, bound)
    flat = shaping(turn @ values.diag() @ turn.T, floor=0.1, power=0.0)
    assert_near(flat, torch.eye(3), bound)
