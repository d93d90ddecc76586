"""What must hold of the algebra for any sizes, numbers, orders and groupings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_near, rounding, size, solving

from editvc.algebra.delta import Delta, delta_from_bytes, delta_to_bytes
from editvc.algebra.diagnostics import capacity, share_kept
from editvc.algebra.factored import Factored
from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import Edits, System, solve

EXAMPLES = settings(max_examples=60)


@dataclass(frozen=True)
class Case:
    """A layer and a set of edits, in canonical order."""

    edits: Edits
    moment: torch.Tensor

    @property
    def whitening(self) -> Whitening:
        return Whitening.of(self.moment)

    @property
    def bound(self) -> float:
        """How far rounding may move the solution, relative to its norm."""
        return solving(self.edits, self.moment)

    def choose(self, columns: list[int]) -> Edits:
        return Edits(self.edits.keys[:, columns], self.edits.residuals[:, columns])


@st.composite
def cases(draw: st.DrawFn, min_edits: int = 0) -> Case:
    """Any shapes, lambda over six orders of magnitude, keys and residuals of any common scale."""
    u, v = draw(st.integers(1, 9)), draw(st.integers(1, 16))
    n = draw(st.integers(min_edits, 24))
    weight = 10.0 ** draw(st.floats(-2, 4))
    scale = 10.0 ** draw(st.floats(-2, 1))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    ordinary = torch.randn(v, 3 * v + 2, generator=random, dtype=torch.float64)
    moment = weight * (ordinary @ ordinary.T / ordinary.shape[1])
    keys = scale * torch.randn(v, n, generator=random, dtype=torch.float64)
    residuals = scale * torch.randn(u, n, generator=random, dtype=torch.float64)
    return Case(Edits(keys, residuals), moment)


def dense(edits: Edits, moment: torch.Tensor) -> torch.Tensor:
    """R K^T (lambda C + K K^T)^-1, the specification."""
    total = moment + edits.keys @ edits.keys.T
    return edits.residuals @ edits.keys.T @ torch.linalg.inv(total)


def size_of_change(change: Factored, *edits: Edits) -> float:
    """What rounding is relative to: left is what was asked for, less what others give already."""
    requested = sum(size(one.residuals) for one in edits)
    return (2 * requested + size(change.left)) * size(change.right)


def solved(edits: Edits, whitening: Whitening) -> Factored:
    return solve(edits.keys, edits.residuals, whitening)


@EXAMPLES
@given(cases())
def test_dual_is_primal_is_dense(case: Case) -> None:
    expected = dense(case.edits, case.moment)
    for primal in (False, True):
        system = System(case.edits, case.whitening, primal)
        assert_near(system.solution.dense(), expected, case.bound)
    assert_near(solved(case.edits, case.whitening).dense(), expected, case.bound)


@EXAMPLES
@given(cases(), st.data())
def test_commits_of_any_grouping_sum_to_the_tree(case: Case, data: st.DataObject) -> None:
    """Each step swaps some live edits for others; the last tree holds all."""
    columns = range(len(case.edits))
    trees = [set(data.draw(st.sets(st.sampled_from(columns)))) if columns else set()]
    trees += [set(columns) & data.draw(st.sets(st.integers(0, 24))), set(columns)]
    whitening, before, deltas, scale = case.whitening, set(), [], 0.0
    for tree in trees:
        parts = (sorted(before & tree), sorted(before - tree), sorted(tree - before))
        kept, gone, come = (case.choose(part) for part in parts)
        deltas.append(System.of(kept, whitening).change(gone, come))
        scale += size_of_change(deltas[-1], gone, come)
        assert deltas[-1].rank == len(before ^ tree)
        before = tree
    # Relative to all commits: when steps cancel, that is where the rounding comes from.
    total = reduce(Factored.__add__, deltas).dense()
    assert_near(total, solved(case.edits, whitening).dense(), case.bound, scale)


@EXAMPLES
@given(cases(), st.randoms(use_true_random=False))
def test_single_commits_sum_to_the_tree(case: Case, random) -> None:
    order = list(range(len(case.edits)))
    random.shuffle(order)
    total, whitening = Factored.zero(*dense(case.edits, case.moment).shape), case.whitening
    scale = 0.0
    for place, column in enumerate(order):
        kept, none = case.choose(sorted(order[:place])), case.choose([])
        step = System.of(kept, whitening).change(none, case.choose([column]))
        total, scale = total + step, scale + size_of_change(step, case.choose([column]))
    assert_near(total.dense(), solved(case.edits, whitening).dense(), case.bound, scale)


@EXAMPLES
@given(cases(), st.integers(0, 24))
def test_removal_is_the_inverse_of_addition(case: Case, split: int) -> None:
    columns = list(range(len(case.edits)))
    kept, moved = case.choose(columns[split:]), case.choose(columns[:split])
    none = case.choose([])
    there = System.of(kept, case.whitening).change(none, moved)
    back = System.of(kept, case.whitening).change(moved, none)
    assert torch.equal(back.dense(), -there.dense())


@EXAMPLES
@given(cases(), st.randoms(use_true_random=False))
def test_equal_sets_in_canonical_order_have_equal_bits(case: Case, random) -> None:
    """Whatever order edits came in: sorted by id, they give the same bits."""
    arrived = list(range(len(case.edits)))
    random.shuffle(arrived)
    keys, residuals = torch.empty_like(case.edits.keys), torch.empty_like(case.edits.residuals)
    for column in arrived:
        keys[:, column] = case.edits.keys[:, column]
        residuals[:, column] = case.edits.residuals[:, column]
    again = Edits(keys, residuals)
    one, other = solved(case.edits, case.whitening), solved(again, case.whitening)
    assert torch.equal(one.left, other.left)
    assert torch.equal(one.right, other.right)


@EXAMPLES
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_columns_is_rounding_only(case: Case, random) -> None:
    order = list(range(len(case.edits)))
    random.shuffle(order)
    shuffled = solved(case.choose(order), case.whitening).dense()
    assert_near(shuffled, solved(case.edits, case.whitening).dense(), case.bound)


@EXAMPLES
@given(cases(min_edits=1))
def test_diagnostics_are_the_dense_ones(case: Case) -> None:
    edits, system = case.edits, System.of(case.edits, case.whitening)
    given = dense(edits, case.moment) @ edits.keys
    levers = torch.diagonal(edits.keys.T @ torch.linalg.inv(case.moment) @ edits.keys)
    expected = (edits.residuals * given).sum(0) / edits.residuals.square().sum(0)
    expected = expected * (1 + levers) / levers
    # What an edit is given is a part of |Delta| |k|, of which its own leverage may be little.
    reach = edits.keys.norm(dim=0) / edits.residuals.norm(dim=0)
    scale = size(dense(edits, case.moment)) * float((reach * (1 + levers) / levers).max())
    assert_near(share_kept(system.solution, system), expected, case.bound, scale + 1)
    inverse = torch.linalg.inv(case.moment + edits.keys @ edits.keys.T)
    used = torch.trace(edits.keys.T @ inverse @ edits.keys)
    # A difference of the number of rows and of a trace.
    assert_near(capacity(system), used, case.bound, scale=max(edits.keys.shape))


@EXAMPLES
@given(cases(), st.integers(0, 40))
def test_stored_deltas_come_back_in_float32(case: Case, layer: int) -> None:
    delta = Delta({layer: solved(case.edits, case.whitening)})
    data = delta_to_bytes(delta, {"layer": layer})
    back, metadata = delta_from_bytes(data)
    assert metadata == {"layer": layer}
    # Two factors rounded: one eps of |L| |R|.
    part = delta.layers[layer]
    scale = size(part.left) * size(part.right)
    assert_near(back.layers[layer].dense(), part.dense(), rounding(1, torch.float32), scale)
    assert delta_to_bytes(back, metadata) == data
