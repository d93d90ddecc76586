"""What is said of a set of edits against the dense solutions of it and of each edit alone."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import U, V, dense_solution, random_edits
from tolerances import assert_near, condition, rounding, solving

from editvc.algebra.diagnostics import capacity, leverage, share_kept
from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import Edits, System


def test_share_kept_is_what_the_dense_solution_gives_of_what_one_alone_gives(
    draw: torch.Generator, moment: torch.Tensor, whitening: Whitening
) -> None:
    edits = random_edits(U, V, 8, draw)
    total = dense_solution(edits, moment)
    expected = []
    for column in range(8):
        one = Edits(edits.keys[:, [column]], edits.residuals[:, [column]])
        key, residual = one.keys[:, 0], one.residuals[:, 0]
        expected.append((residual @ total @ key) / (residual @ dense_solution(one, moment) @ key))
    system = System.of(edits, whitening)
    bound = solving(edits, moment)
    assert_near(share_kept(system.solution, system), torch.stack(expected), bound)
    restrained = system.solution.scaled(-0.5)
    assert_near(share_kept(restrained, system), -0.5 * torch.stack(expected), bound)


def test_an_edit_that_gets_nothing_alone_loses_nothing(
    draw: torch.Generator, whitening: Whitening
) -> None:
    edits = random_edits(U, V, 4, draw)
    edits.residuals[:, 1] = 0
    edits.keys[:, 2] = 0
    system = System.of(edits, whitening)
    kept = share_kept(system.solution, system)
    assert kept[1:3].tolist() == [1.0, 1.0]
    assert bool(torch.isfinite(kept).all())


def test_leverage_is_the_quadratic_form_and_v_over_lambda_on_average(
    draw: torch.Generator,
) -> None:
    ordinary = torch.randn(V, 200, generator=draw, dtype=torch.float64)
    moment = ordinary @ ordinary.T / 200
    found = leverage(Whitening.of(3.0 * moment).apply_left(ordinary))
    expected = (ordinary * (torch.linalg.inv(3.0 * moment) @ ordinary)).sum(dim=0)
    bound = rounding(V + 200) * condition(moment)  # which is itself a sum over the 200 keys
    assert_near(found, expected, bound)
    assert_near(found.mean(), V / 3.0, bound)


@pytest.mark.parametrize("n", [0, 3, 14, 33])
def test_capacity_is_the_trace_on_either_side(
    n: int, draw: torch.Generator, moment: torch.Tensor, whitening: Whitening
) -> None:
    edits = random_edits(U, V, n, draw)
    system, whitened = System.of(edits, whitening), whitening.apply_left(edits.keys)
    for gram in (whitened.T @ whitened, whitened @ whitened.T):
        identity = torch.eye(len(gram), dtype=torch.float64)
        expected = torch.trace(gram @ torch.linalg.inv(identity + gram))
        # A difference of the number of rows and of a trace.
        assert_near(capacity(system), expected, solving(edits, moment), scale=max(n, V))
    assert capacity(system) <= min(n, V)
