"""D4S's sums: exact, of one size, and a function of the set."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import dense_solution, random_edits, random_moment
from hypothesis import given, settings
from hypothesis import strategies as st

from editvc.algebra.accumulator import Accumulator, AccumulatorError
from editvc.algebra.solvers import Edits

U, V = 5, 9
seeds = st.integers(0, 2**16)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(count: int, seed: int) -> tuple[list[str], Edits]:
    edits = random_edits(U, V, count, drawn(seed))
    rounded = Edits(edits.keys.float().double(), edits.residuals.float().double())
    return [f"fact {i}" for i in range(count)], rounded


def columns(edits: Edits, places: list[int]) -> Edits:
    return Edits(edits.keys[:, places], edits.residuals[:, places])


def same(one: Accumulator, other: Accumulator) -> bool:
    return (
        torch.equal(one.rk, other.rk)
        and torch.equal(one.kk, other.kk)
        and one.facts == other.facts
        and one.bits == other.bits
    )


@given(seed=seeds, count=st.integers(1, 30))
@settings(max_examples=30)
def test_its_solution_is_equation_13(seed: int, count: int) -> None:
    facts, edits = some(count, seed)
    moment = random_moment(V, drawn(seed), weight=2.0)
    found = Accumulator.empty(U, V, 8.0).plus(facts, edits).solution(moment).dense()
    expected = dense_solution(edits, moment)
    assert float((found - expected).norm() / expected.norm()) < 1e-8


@given(seed=seeds, order=st.permutations(range(6)), gone=st.sets(st.integers(0, 5)))
@settings(max_examples=40)
def test_it_is_a_function_of_the_set_bit_for_bit(
    seed: int, order: list[int], gone: set[int]
) -> None:
    facts, edits = some(6, seed)
    at_once = Accumulator.empty(U, V, 8.0)
    kept = [place for place in range(6) if place not in gone]
    at_once = at_once.plus([facts[i] for i in kept], columns(edits, kept))
    by_one = Accumulator.empty(U, V, 8.0)
    for place in order:
        by_one = by_one.plus([facts[place]], columns(edits, [place]))
    for place in gone:
        by_one = by_one.minus([facts[place]], columns(edits, [place]))
    assert same(by_one, at_once)


def test_floating_point_sums_would_not_come_back() -> None:
    """Why whole numbers: the same steps on float64 sums leave their rounding behind."""
    _, edits = some(6, 3)
    total = edits.residuals[:, :1] @ edits.keys[:, :1].T
    before = total.clone()
    for place in range(1, 6):
        total = total + 1e3 * torch.outer(edits.residuals[:, place], edits.keys[:, place])
    for place in range(1, 6):
        total = total - 1e3 * torch.outer(edits.residuals[:, place], edits.keys[:, place])
    assert not torch.equal(total, before)


def test_its_size_is_that_of_no_edits() -> None:
    none = Accumulator.empty(U, V, 8.0)
    many = none.plus(*some(200, 1))
    assert (many.rk.shape, many.kk.shape) == (none.rk.shape, none.kk.shape)
    assert len(many) == 200 and not none.rk.any() and len(none) == 0


def test_what_is_in_is_not_added_and_what_is_not_in_is_not_taken_out() -> None:
    facts, edits = some(2, 1)
    sums = Accumulator.empty(U, V, 8.0).plus(facts[:1], columns(edits, [0]))
    with pytest.raises(AccumulatorError, match=r"in the sums already.*fact 0"):
        sums.plus(facts[:1], columns(edits, [0]))
    with pytest.raises(AccumulatorError, match=r"not in the sums.*fact 1"):
        sums.minus(facts[1:], columns(edits, [1]))
    with pytest.raises(AccumulatorError, match="named twice"):
        sums.plus(["a", "a"], edits)


def test_an_edit_out_of_range_is_refused_before_anything_overflows() -> None:
    facts, edits = some(1, 1)
    with pytest.raises(AccumulatorError, match="larger than these sums were made for"):
        Accumulator.empty(U, V, 1e-3).plus(facts, edits)
