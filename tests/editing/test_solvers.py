"""Dual and primal form, and changes, against the dense formula, and the limits of each."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import dense_solution, joined, random_edits, random_moment
from safetensors.torch import save
from tolerances import assert_near, condition, rounding, size, solving

from editvc.editing import solvers
from editvc.editing.diagnostics import capacity, leverage, share_kept
from editvc.editing.guards import JITTERS, SolveError, Whitening, WhiteningDamageError
from editvc.editing.solvers import Edits, System, solve

U, V = 6, 14


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def moment(draw: torch.Generator) -> torch.Tensor:
    return random_moment(V, draw, weight=2.0)


@pytest.fixture
def whitening(moment: torch.Tensor) -> Whitening:
    return Whitening.of(moment)


@pytest.mark.parametrize("n", [0, 1, 5, 6, 13, 14, 40])
def test_both_forms_are_the_dense_formula(
    n: int, draw: torch.Generator, moment: torch.Tensor, whitening: Whitening
) -> None:
    edits = random_edits(U, V, n, draw)
    expected, bound = dense_solution(edits, moment), solving(edits, moment)
    for primal in (False, True):
        assert_near(System(edits, whitening, primal).solution.dense(), expected, bound)
    assert_near(solve(edits.keys, edits.residuals, whitening).dense(), expected, bound)


def test_rank_is_the_number_of_edits_until_it_cannot_be(
    draw: torch.Generator, whitening: Whitening
) -> None:
    for n in (0, 2, 5, 6, 9, 30):
        edits = random_edits(U, V, n, draw)
        assert solve(edits.keys, edits.residuals, whitening).rank == min(n, U)


def test_many_edits_take_the_primal_form(draw: torch.Generator, whitening: Whitening) -> None:
    forms = [System.of(random_edits(U, V, n, draw), whitening).primal for n in (V - 1, V)]
    assert forms == [False, True]


@pytest.mark.parametrize(
    ("kept", "removed", "added"),
    [(5, 2, 3), (9, 0, 1), (9, 4, 0), (0, 0, 4), (0, 3, 0), (0, 0, 0), (30, 3, 4), (14, 0, 1)],
)
def test_change_is_the_difference_of_two_solutions(
    kept: int,
    removed: int,
    added: int,
    draw: torch.Generator,
    moment: torch.Tensor,
    whitening: Whitening,
) -> None:
    stay, go, come = (random_edits(U, V, n, draw) for n in (kept, removed, added))
    change = System.of(stay, whitening).change(go, come)
    after, before = (dense_solution(joined(stay, part), moment) for part in (come, go))
    bound, scale = solving(joined(joined(stay, go), come), moment), size(after) + size(before)
    assert_near(change.dense(), after - before, bound, scale)
    assert change.rank == removed + added


@pytest.mark.parametrize("n", [0, 4, 9, 14, 30])
def test_a_system_shares_its_factor_and_changes_no_bit(
    n: int, draw: torch.Generator, whitening: Whitening, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay, go, come = (random_edits(U, V, m, draw) for m in (n, 2, 3))
    solution = solve(stay.keys, stay.residuals, whitening)
    change = System.of(stay, whitening).change(go, come)
    figure = capacity(System.of(stay, whitening))
    factored: list[str] = []
    cholesky = solvers._cholesky
    monkeypatch.setattr(
        solvers, "_cholesky", lambda matrix, name: factored.append(name) or cholesky(matrix, name)
    )
    system = System.of(stay, whitening)
    found = [system.change(go, come), system.solution, system.change(go, come)]
    assert capacity(system) == figure
    for one, expected in zip(found, [change, solution, change], strict=True):
        assert torch.equal(one.left, expected.left)
        assert torch.equal(one.right, expected.right)
    assert factored.count("I + G") == 1


def test_one_edit_is_sherman_morrison(
    draw: torch.Generator, moment: torch.Tensor, whitening: Whitening
) -> None:
    stay, come = random_edits(U, V, 7, draw), random_edits(U, V, 1, draw)
    inverse = torch.linalg.inv(moment + stay.keys @ stay.keys.T)
    key, residual = come.keys[:, 0], come.residuals[:, 0]
    gain = inverse @ key / (1 + key @ inverse @ key)
    expected = torch.outer(residual - dense_solution(stay, moment) @ key, gain)
    found = System.of(stay, whitening).change(Edits.empty(U, V), come)
    both = joined(stay, come)
    scale = size(dense_solution(both, moment)) + size(dense_solution(stay, moment))
    assert_near(found.dense(), expected, solving(both, moment), scale)


def test_bits_do_not_depend_on_where_values_lie(
    draw: torch.Generator, whitening: Whitening
) -> None:
    edits = random_edits(U, V, 5, draw)
    columns = edits.keys.T.contiguous().T
    shifted = torch.zeros(V * 5 + 1, dtype=torch.float64)[1:].view(V, 5).copy_(edits.keys)
    assert not columns.is_contiguous()
    assert shifted.data_ptr() % 64
    cached = Whitening.from_bytes(whitening.to_bytes())
    expected = solve(edits.keys, edits.residuals, whitening).dense()
    for keys in (columns, shifted):
        assert torch.equal(solve(keys, edits.residuals, cached).dense(), expected)


def test_arguments_are_left_as_they_were(draw: torch.Generator, whitening: Whitening) -> None:
    stay, come = random_edits(U, V, 20, draw), random_edits(U, V, 3, draw)
    tensors = (stay.keys, stay.residuals, come.keys, come.residuals, whitening.lower)
    before = [tensor.clone() for tensor in tensors]
    System.of(stay, whitening).change(come, come)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_edits_must_be_columns_of_float64() -> None:
    good = torch.zeros(4, 2, dtype=torch.float64)
    with pytest.raises(SolveError, match="one column per edit"):
        Edits(good, torch.zeros(3, 1, dtype=torch.float64))
    with pytest.raises(SolveError, match="float64"):
        Edits(good, torch.zeros(3, 2))
    bad = good.clone()
    bad[2, 1] = float("nan")
    with pytest.raises(SolveError, match="keys of edit 1 are not finite"):
        Edits(bad, torch.zeros(3, 2, dtype=torch.float64))


def cholesky_rounding(rows: int) -> float:
    """``L L^T`` is the matrix to gamma_{n+1} of ``|L| |L^T|``, whose norm is the trace at most
    (H. 10.3), and that is at most ``sqrt(n)`` times the matrix's own norm.
    """
    return rounding(rows + 1, scale=rows**0.5)


def test_whitening_factors_the_moment(
    whitening: Whitening, moment: torch.Tensor, draw: torch.Generator
) -> None:
    keys, lower = torch.randn(V, 3, generator=draw, dtype=torch.float64), whitening.lower
    assert_near(lower @ lower.T, moment, cholesky_rounding(V))
    bound = rounding(V) * condition(lower)
    assert_near(whitening.whiten(keys), torch.linalg.inv(lower) @ keys, bound)
    rows = whitening.unwhiten_rows(keys.T.contiguous())
    assert_near(rows, keys.T @ torch.linalg.inv(lower), bound)
    assert whitening.jitter == 0.0


def test_whitening_survives_the_cache_bit_for_bit(whitening: Whitening) -> None:
    back = Whitening.from_bytes(whitening.to_bytes())
    assert torch.equal(back.lower, whitening.lower)
    assert back.jitter == whitening.jitter
    for bad in (b"", whitening.to_bytes()[:-1], save({"other": torch.zeros(1)})):
        with pytest.raises(WhiteningDamageError):
            Whitening.from_bytes(bad)


def test_a_singular_moment_gets_a_stated_jitter() -> None:
    moment = torch.ones(5, 5, dtype=torch.float64)
    whitening = Whitening.of(moment)
    assert whitening.jitter == JITTERS[1]
    factored = whitening.lower @ whitening.lower.T
    assert_near(factored, moment + JITTERS[1] * torch.eye(5), cholesky_rounding(5))


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (torch.eye(3, dtype=torch.float64) - 0.5 * torch.ones(3, 3), "not positive definite"),
        (torch.full((3, 3), float("nan")), "not finite"),
        (-torch.eye(3), "not finite and positive"),
        (torch.zeros(2, 3), "not square"),
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(moment: torch.Tensor, problem: str) -> None:
    with pytest.raises(SolveError, match=rf"of layer 3.*{problem}"):
        Whitening.of(moment, name="layer 3")


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
    found = leverage(Whitening.of(3.0 * moment).whiten(ordinary))
    expected = (ordinary * (torch.linalg.inv(3.0 * moment) @ ordinary)).sum(dim=0)
    bound = rounding(V + 200) * condition(moment)  # which is itself a sum over the 200 keys
    assert_near(found, expected, bound)
    assert_near(found.mean(), V / 3.0, bound)


@pytest.mark.parametrize("n", [0, 3, 14, 33])
def test_capacity_is_the_trace_on_either_side(
    n: int, draw: torch.Generator, moment: torch.Tensor, whitening: Whitening
) -> None:
    edits = random_edits(U, V, n, draw)
    system, whitened = System.of(edits, whitening), whitening.whiten(edits.keys)
    for gram in (whitened.T @ whitened, whitened @ whitened.T):
        identity = torch.eye(len(gram), dtype=torch.float64)
        expected = torch.trace(gram @ torch.linalg.inv(identity + gram))
        # A difference of the number of rows and of a trace.
        assert_near(capacity(system), expected, solving(edits, moment), scale=max(n, V))
    assert capacity(system) <= min(n, V)
