"""Every solver against its paper's equation, written densely in float64 on random matrices."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from algebra_dense import joined, random_edits, random_moment
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_near, condition, rounding, scaled, size, solving

from editvc.algebra.preconditioners import IdentityPreconditioner, Projection, SolveError, Whitening
from editvc.algebra.solvers import EMMET_LAMBDA, SOLVERS, Edits, Solver, solver_of, standardised
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import METHODS
from editvc.editing.layer_spread import SHARES, compensated_residuals, share
from editvc.editing.published_forms import KEYS, REFERENCES

U, V = 7, 12

seeds = st.integers(0, 2**16)
counts = st.integers(1, 2 * V)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def preconditioner_of(name: str, moment: torch.Tensor):
    if name == "nullspace":
        return Projection.of(moment, threshold_of(moment), 10.0)
    return IdentityPreconditioner() if name == "normalised" else Whitening.of(moment)


def threshold_of(moment: torch.Tensor) -> float:
    """Between the eigenvalues: a third of the directions count as free."""
    values = torch.linalg.eigvalsh(moment)
    return float(values[V // 3] + values[V // 3 + 1]) / 2


def dense(name: str, edits: Edits, moment: torch.Tensor) -> torch.Tensor:
    """The solution of a set, with inverses and no factor."""
    keys, residuals = edits.keys, edits.residuals
    gram = keys @ keys.T
    if name in ("ridge", "sums"):  # MEMIT, equation 14
        return residuals @ keys.T @ torch.linalg.inv(moment + gram)
    if name == "equality":  # EMMET, equation 9, with emmet_lambda
        pulled = torch.linalg.inv(moment) @ keys
        inner = keys.T @ pulled + EMMET_LAMBDA * torch.eye(len(edits), dtype=torch.float64)
        return residuals @ torch.linalg.inv(inner) @ pulled.T
    if name == "doubled":  # AdaPLE: V2 - 3 W0 K with V2 = 2 V + W0 K, for any W0
        weight = torch.randn(U, V, generator=drawn(1), dtype=torch.float64)
        values = residuals + weight @ keys
        doubled = 2 * values + weight @ keys - 3 * weight @ keys
        return doubled @ keys.T @ torch.linalg.inv(moment + 2 * gram)
    if name == "counted":  # AdaPLE, equation 4, for whatever its R is
        return residuals @ keys.T @ torch.linalg.inv(moment + 2 * gram)
    if name == "nullspace":  # AlphaEdit, equation 14
        values, vectors = torch.linalg.eigh(moment)
        free = vectors[:, values < threshold_of(moment)]
        projection = free @ free.T
        eye = torch.eye(V, dtype=torch.float64)
        return residuals @ keys.T @ projection @ torch.linalg.inv(gram @ projection + 10.0 * eye)
    # UltraEdit, algorithm 1, with the moments of the set
    h, g = normal(keys), normal(residuals)
    wanted = -SOLVERS["normalised"].step * (h * h).sum(0) * g
    eye = torch.eye(V, dtype=torch.float64)
    return (torch.linalg.inv(gram + eye) @ keys @ wanted.T).T


def normal(features: torch.Tensor) -> torch.Tensor:
    if features.shape[1] == 1:
        return features / features.pow(2).mean() ** 0.5
    return (features - features.mean(1, True)) / features.std(1, correction=0, keepdim=True)


def dense_rounding(name: str, edits: Edits, moment: torch.Tensor) -> float:
    """How far rounding may move a solution, relative to its norm, by what each equation solves."""
    keys, terms = edits.keys, V + len(edits)
    eye, gram = torch.eye(V, dtype=torch.float64), keys @ keys.T
    if name in ("ridge", "sums"):
        return solving(edits, moment)
    if name in ("doubled", "counted"):
        return solving(Edits(2**0.5 * keys, edits.residuals), moment)
    if name == "equality":
        return solving(edits, moment, ridge=EMMET_LAMBDA)
    if name == "nullspace":
        return rounding(terms) * (condition(gram + 10.0 * eye) + turning(moment))
    # Features that vary little beside their mean lose that much where the mean is taken off.
    varying = [one.pow(2).mean(1).sqrt() / one.std(1, correction=0) for one in features(edits)]
    return rounding(terms) * condition(gram + eye) * float(torch.cat(varying).max())


def features(edits: Edits) -> list[torch.Tensor]:
    """Keys and residuals where they vary; one column alone does not."""
    return [edits.keys, edits.residuals] if len(edits) > 1 else [torch.tensor([[0.0, 1.0]])]


def turning(moment: torch.Tensor) -> float:
    """How much the space of the small eigenvalues turns: by the gap behind them (Davis-Kahan)."""
    values = torch.linalg.eigvalsh(moment)
    return float(values[-1] / (values[V // 3 + 1] - values[V // 3]))


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=seeds, count=counts)
@settings(max_examples=40)
def test_a_solver_is_its_papers_equation(name: str, seed: int, count: int) -> None:
    draw = drawn(seed)
    moment, edits = random_moment(V, draw, weight=2.0), random_edits(U, V, count, draw)
    found = SOLVERS[name].system(edits, preconditioner_of(name, moment)).solution
    expected = dense(name, edits, moment)
    assert_near(found.dense(), expected, dense_rounding(name, edits, moment))


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=seeds, kept=counts, gone=st.integers(0, 3), come=st.integers(0, 3))
@settings(max_examples=25)
def test_a_change_is_the_difference_of_two_solutions(
    name: str, seed: int, kept: int, gone: int, come: int
) -> None:
    draw = drawn(seed)
    moment = random_moment(V, draw, weight=2.0)
    stays, goes, comes = (random_edits(U, V, n, draw) for n in (kept, gone, come))
    preconditioner, solver = preconditioner_of(name, moment), SOLVERS[name]
    found = solver.change(solver.system(stays, preconditioner), stays, goes, comes)
    after, before = (joined(stays, part) for part in (comes, goes))
    expected = dense(name, after, moment) - dense(name, before, moment)
    scales = [size(dense(name, one, moment)) for one in (after, before)]
    bound = sum(
        dense_rounding(name, one, moment) * scale
        for one, scale in zip((after, before), scales, strict=True)
    )
    assert_near(found.dense(), expected, bound, scale=1.0)
    if name != "normalised":
        assert found.rank == gone + come


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=seeds, count=st.integers(1, V))
@settings(max_examples=25)
def test_a_solution_is_the_sum_of_one_term_an_edit(name: str, seed: int, count: int) -> None:
    draw = drawn(seed)
    moment, edits = random_moment(V, draw, weight=2.0), random_edits(U, V, count, draw)
    terms = SOLVERS[name].terms(edits, preconditioner_of(name, moment))
    assert [term.rank for term in terms] == [1] * count
    total = sum(term.dense() for term in terms)
    assert_near(total, dense(name, edits, moment), dense_rounding(name, edits, moment))


@given(seed=seeds)
def test_one_edit_of_rome_is_its_rank_one_update(seed: int) -> None:
    """``Lambda (C^-1 k)^T`` with ``Lambda = (v* - W k) / (C^-1 k)^T k``: equation 2 of ROME."""
    draw = drawn(seed)
    moment, edits = random_moment(V, draw), random_edits(U, V, 1, draw)
    key, missing = edits.keys[:, 0], edits.residuals[:, 0]
    pulled = torch.linalg.inv(moment) @ key
    expected = torch.outer(missing / (pulled @ key), pulled)
    solver, compensation = SOLVERS["equality"], METHODS["rome"].numbers["compensation"]
    alone = solver.self_response((key @ pulled)[None])
    residual = compensated_residuals(missing[None], alone, float(compensation)).T
    found = solver.system(Edits(edits.keys, residual), Whitening.of(moment)).solution
    assert_near(found.dense(), expected, rounding(2 * V) * condition(scaled(moment)))


@given(seed=seeds, count=st.integers(1, 6))
@settings(max_examples=25)
def test_alphaedits_sequence_ends_in_the_solution_of_the_set(seed: int, count: int) -> None:
    """One by one, each with the keys of those before it: what the paper applies in sequence."""
    draw = drawn(seed)
    moment, edits = random_moment(V, draw), random_edits(U, V, count, draw)
    values, vectors = torch.linalg.eigh(moment)
    free = vectors[:, values < threshold_of(moment)]
    projection, eye = free @ free.T, torch.eye(V, dtype=torch.float64)
    total, seen = torch.zeros(U, V, dtype=torch.float64), torch.zeros(V, V, dtype=torch.float64)
    for key, residual in zip(edits.keys.T, edits.residuals.T, strict=True):
        missing = residual - total @ key
        inverse = torch.linalg.inv((seen + torch.outer(key, key)) @ projection + 10.0 * eye)
        total += torch.outer(missing, key) @ projection @ inverse
        seen += torch.outer(key, key)
    bound = dense_rounding("nullspace", edits, moment) * count
    assert_near(dense("nullspace", edits, moment), total, bound)


@given(seed=seeds, count=st.integers(2, 8))
def test_ultraedits_normaliser_is_of_the_set_and_not_of_its_order(seed: int, count: int) -> None:
    draw = drawn(seed)
    edits = random_edits(U, V, count, draw)
    order = torch.randperm(count, generator=draw)
    solver = SOLVERS["normalised"]
    one = solver.system(edits, IdentityPreconditioner()).solution.dense()
    shuffled = Edits(edits.keys[:, order], edits.residuals[:, order])
    bound = dense_rounding("normalised", edits, torch.eye(V))
    assert_near(solver.system(shuffled, IdentityPreconditioner()).solution.dense(), one, bound)


def test_a_feature_that_never_varies_tells_nothing() -> None:
    features = torch.tensor([[1.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    assert standardised(features).tolist() == [[0.0, 0.0], [-1.0, 1.0]]


@given(seed=seeds, compensation=st.floats(0, 1))
def test_an_edit_alone_gets_what_its_solver_says(seed: int, compensation: float) -> None:
    draw = drawn(seed)
    moment, edits = random_moment(V, draw), random_edits(U, V, 1, draw)
    preconditioner = Whitening.of(moment)
    for solver in (SOLVERS["ridge"], SOLVERS["equality"], SOLVERS["doubled"], SOLVERS["counted"]):
        alone = solver.self_response(preconditioner.apply_left(edits.keys).square().sum(0))
        residual = compensated_residuals(edits.residuals.T, alone, compensation).T
        given_back = (
            solver.system(Edits(edits.keys, residual), preconditioner).solution @ edits.keys
        )
        expected = edits.residuals * alone ** (1 - compensation)
        assert_near(given_back, expected, rounding(2 * V) * condition(scaled(moment)))


def test_nothing_free_is_an_error_with_a_way_out() -> None:
    moment = random_moment(V, drawn(0))
    with pytest.raises(SolveError, match="no direction of the second moment") as caught:
        Projection.of(moment, 1e-9, 1.0, name="layer 3")
    assert "nullspace_threshold" in caught.value.hint


def test_a_projection_survives_the_cache_bit_for_bit() -> None:
    moment = random_moment(V, drawn(0))
    projection = Projection.of(moment, threshold_of(moment), 10.0)
    again = Projection.from_bytes(projection.to_bytes())
    assert torch.equal(again.basis, projection.basis)


def test_the_step_of_ultraedit_is_the_recipes() -> None:
    recipe = LocatedRecipe(
        layers=(1,), contexts=("{}",), statistics="a" * 64, method="ultraedit", lr=1e-3
    )
    assert solver_of(recipe) == Solver(step=1e-3)


def test_shares_are_those_of_the_papers() -> None:
    recipe = {
        name: LocatedRecipe(layers=(1, 2, 4), contexts=("{}",), statistics="a" * 64, method=name)
        for name in ("memit", "pmet")
    }
    assert [share(recipe["memit"], place) for place in range(3)] == [1 / 3, 1 / 2, 1]
    roots = [share(recipe["pmet"], place) for place in range(3)]
    assert_near(roots, [3**-0.5, 2**-0.5, 1], rounding(2))


def test_every_row_names_parts_that_exist() -> None:
    for row in METHODS.values():
        if row.element == "located":
            assert row.solver in SOLVERS
            assert row.spread in {*SHARES, "own"}
            for form in ({}, *row.forms.values()):
                formed = replace(row, **form)
                assert formed.keys in KEYS and formed.reference in REFERENCES
                assert formed.solver in SOLVERS
            assert row.target in ("memit", "rome", "pmet", "gradient")
        else:
            assert not (row.target or row.spread or row.solver)
