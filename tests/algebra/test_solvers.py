"""Dual and primal form, and changes, against the dense formula, and the limits of each."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import U, V, dense_solution, joined, random_edits
from tolerances import assert_near, size, solving

from editvc.algebra import solvers
from editvc.algebra.diagnostics import capacity
from editvc.algebra.preconditioners import SolveError, Whitening
from editvc.algebra.solvers import Edits, System, solve


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
