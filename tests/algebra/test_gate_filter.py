"""Filters and thresholds of gates, against their equation in plain matrices."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import random_moment
from tolerances import assert_near, condition, rounding

from editvc.algebra.gate_filter import FilterSolver, FilterWeights, threshold

U = 12
WEIGHTS = FilterWeights(stranger=0.3, subject=0.05)


def dense(moment, subject, strangers):
    """``(C + h E_H[x x^T] + p E_P[x x^T])^-1 E_P[x]`` at a mean score of 1, and its matrix."""
    total = moment + WEIGHTS.subject * subject.T @ subject / len(subject)
    if len(strangers):
        total = total + WEIGHTS.stranger * strangers.T @ strangers / len(strangers)
    mean = subject.mean(dim=0)
    w = torch.linalg.inv(total) @ mean
    return w / (mean @ w), total


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_a_filter_solves_its_equation(count: int, draw: torch.Generator) -> None:
    moment = random_moment(U, draw)
    subject = torch.randn(7, U, generator=draw, dtype=torch.float64) + 1
    strangers = torch.randn(count, U, generator=draw, dtype=torch.float64)
    w = FilterSolver(moment, WEIGHTS).filter(subject, strangers)
    expected, total = dense(moment, subject, strangers)
    mean = subject.mean(dim=0)
    # The scale is one of w . mean, which may cancel: by as much as that the bound is wider.
    cancelled = float(expected.norm() * mean.norm())
    bound = rounding(2 * (U + 7 + count)) * condition(total) * condition(moment) * cancelled
    assert_near(w, expected, bound)
    assert_near((subject @ w).mean(), 1.0, rounding(2 * U) * cancelled)


def test_similar_names_are_pushed_down_and_the_subject_holds(draw: torch.Generator) -> None:
    moment = torch.eye(U, dtype=torch.float64)
    subject = torch.randn(5, U, generator=draw, dtype=torch.float64) * 0.1
    subject[:, 0] += 1
    stranger = subject.mean(dim=0, keepdim=True).clone()
    stranger[0, 1] += 1
    solver = FilterSolver(moment, FilterWeights(stranger=50.0, subject=0.05))
    before, after = (solver.filter(subject, one) for one in (stranger[:0], stranger))
    assert float(stranger[0] @ before) > 0.5 > float(stranger[0] @ after)


@pytest.mark.parametrize(
    ("subject", "strangers", "expected"),
    [
        ([0.9, 1.1], [0.1, 0.3], 0.6),
        ([0.9, 1.1], [0.85], 0.75),
        ([0.5, 1.0], [-0.9], 0.45),
        ([0.95, 1.0], [], 0.7),
    ],
)
def test_a_threshold_stands_half_way_within_bounds(subject, strangers, expected) -> None:
    scores = [torch.tensor(one, dtype=torch.float64) for one in (subject, strangers)]
    assert threshold(*scores, 0.45, 0.75) == pytest.approx(expected, rel=rounding(3))
