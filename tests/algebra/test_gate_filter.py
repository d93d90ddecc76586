"""Filters and thresholds of gates, against their equation in plain matrices."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import random_moment
from tolerances import assert_near, condition, rounding

from editvc.algebra.gate_filter import FilterSolver, FilterWeights, telling_filter

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


@pytest.mark.parametrize("count", [0, 6, 40])
def test_a_telling_filter_solves_its_equation(count: int, draw: torch.Generator) -> None:
    moment = random_moment(U, draw)
    subject = torch.randn(7, U, generator=draw, dtype=torch.float64) + 1
    twins = torch.randn(count, U, generator=draw, dtype=torch.float64)
    total = 0.03 * moment + subject.T @ subject / 7
    if count:
        total = total + twins.T @ twins / count
    expected = torch.linalg.inv(total) @ subject.mean(dim=0)
    w = telling_filter(moment, subject, twins, 0.03)
    assert_near(w, expected, rounding(2 * (U + 7 + count)) * condition(total))


def test_a_telling_filter_knows_the_subject_from_twins_that_share_most_of_it() -> None:
    subject, twin = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    subject[:, 0], subject[:, 1] = 5.0, 1.0  # the last word, and what only the subject has
    twin[:, 0], twin[:, 2] = 5.0, 1.0
    moment = torch.eye(3, dtype=torch.float64)
    alike = FilterSolver(moment, WEIGHTS).filter(subject, twin[:0])
    told = telling_filter(moment, subject, twin, 0.03)
    assert float(twin[0] @ alike) > 0.9
    assert float(subject[0] @ told) > 0.9 and abs(float(twin[0] @ told)) < 0.1
