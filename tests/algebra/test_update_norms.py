"""Norms of a moved weight: a case worked out by hand, and the dense definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from editvc.algebra.update_norms import WeightNorms, cosines, spectral


def test_a_case_by_hand() -> None:
    """W = diag(3, 4) beside a column of zeros, D = diag(1, -2): W' = diag(4, 2)."""
    weight = torch.tensor([[3.0, 0, 0], [0, 4, 0]], dtype=torch.float64)
    change = torch.tensor([[1.0, 0, 0], [0, -2, 0]], dtype=torch.float64)
    norms = WeightNorms.of(weight, change)
    assert norms.l1_norm == 6
    assert norms.change == pytest.approx(5**0.5)
    assert norms.distance == pytest.approx(5**0.5 / 5)
    assert norms.distance_per_neuron == pytest.approx(5**0.5 / 3)
    assert (norms.s_max, norms.s_min) == pytest.approx((4, 2))
    assert norms.condition_number == pytest.approx(2)
    assert norms.s_max_change == pytest.approx(2)


def test_against_numpy() -> None:
    draw = torch.Generator().manual_seed(3)
    weight, change = (torch.randn(5, 9, dtype=torch.float64, generator=draw) for _ in range(2))
    norms = WeightNorms.of(weight, change)
    moved = (weight + change).numpy()
    values = np.linalg.svd(moved, compute_uv=False)
    assert norms.condition_number == pytest.approx(np.linalg.cond(moved))
    assert (norms.s_max, norms.s_min) == pytest.approx((values[0], values[-1]))
    assert norms.s_max_change == pytest.approx(np.linalg.norm(change.numpy(), 2))
    assert norms.correlation == pytest.approx(np.corrcoef(moved.ravel(), weight.ravel())[0, 1])
    assert spectral(change.T) == pytest.approx(norms.s_max_change)


def test_nothing_has_changed_and_there_was_nothing() -> None:
    zero = torch.zeros(3, 2, dtype=torch.float64)
    still = WeightNorms.of(zero + 1, zero)
    assert (still.change, still.distance, still.s_max_change) == (0, 0, 0)
    assert WeightNorms.of(zero, zero).condition_number == 1
    assert WeightNorms.of(zero, zero + 1).distance == 0


def test_cosines_of_updates() -> None:
    one = torch.tensor([[1.0, 0], [0, 0]], dtype=torch.float64)
    other = torch.tensor([[3.0, 4], [0, 0]], dtype=torch.float64)
    found = cosines([one, other, -2 * one, 0 * one])
    expected = [[1, 0.6, -1, 0], [0.6, 1, -0.6, 0], [-1, -0.6, 1, 0], [0, 0, 0, 0]]
    assert found == [pytest.approx(row) for row in expected]
