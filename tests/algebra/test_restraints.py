"""PRUNE and rank cuts on factors against the same done to the dense matrix."""

from __future__ import annotations

import math

import pytest
import torch
from tolerances import assert_near, condition, rounding

from editvc.algebra.factored import DeltaError, Factored
from editvc.algebra.restraints import (
    RestraintError,
    check,
    dropped,
    extreme_singular_values,
    largest_singular_value,
    pruned,
    restrain,
)
from editvc.core.history import Restraint

VALUES = [40.0, 9.0, 3.0, 1.9, 0.2]
BOUND = rounding(7 * 5 + 5 * 11, scale=40.0 * 5**0.5)
"""Of the matrix, and of its singular values, by QR and SVD of the factors (H. 19.4), relative to
their size. No restraint multiplies it: what it does to values it does to errors of them, and less.
"""
CUT = BOUND * 40.0 / 1.1
"""Where singular vectors count, too: they turn by as much as an error is of the smallest gap."""


@pytest.fixture
def delta() -> Factored:
    """Rank 5 with singular values from well above to well below 2."""
    draw = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(7, 5, generator=draw, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(11, 5, generator=draw, dtype=torch.float64))
    return Factored(left * torch.tensor(VALUES, dtype=torch.float64), right.T)


def by_the_paper(matrix: torch.Tensor, s_max: float, base: float) -> torch.Tensor:
    """PRUNE on the dense matrix, value by value."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    for i, s in enumerate(values.tolist()):
        if s > s_max:
            values[i] = math.log(s, base) - math.log(s_max, base) + s_max
    return left * values @ right


@pytest.mark.parametrize("base", [math.e, 1.8])
def test_prune_is_the_formula_of_the_paper(delta: Factored, base: float) -> None:
    found = restrain(delta, Restraint(prune=base), 2.0)
    assert_near(found.dense(), by_the_paper(delta.dense(), 2.0, base), CUT, scale=1)
    assert found.rank == delta.rank


def test_prune_leaves_a_quiet_delta_alone(delta: Factored) -> None:
    found = restrain(delta, Restraint(prune=math.e), 40.5)
    assert_near(found.dense(), delta.dense(), BOUND, scale=1)


def test_prune_keeps_order_and_never_amplifies() -> None:
    values = torch.logspace(2, -2, 200, dtype=torch.float64)
    for s_max, base in ((2.0, math.e), (0.1, 1.2), (0.5, 1.2), (5.0, 1.2)):
        found = pruned(values, s_max, base)
        assert bool((found <= values).all())
        assert bool((found.diff() <= 0).all())
        assert torch.equal(found[values <= s_max], values[values <= s_max])


def test_cut_by_rank_and_energy_is_the_truncated_svd(delta: Factored) -> None:
    left, values, right = torch.linalg.svd(delta.dense(), full_matrices=False)
    for restraint, kept in ((Restraint(rank=2), 2), (Restraint(energy=0.99), 2)):
        found = restrain(delta, restraint, math.inf)
        expected = left[:, :kept] * values[:kept] @ right[:kept]
        assert_near(found.dense(), expected, CUT, scale=1)
        assert found.rank == kept


def test_energy_is_that_of_the_pruned_values(delta: Factored) -> None:
    both = restrain(delta, Restraint(prune=math.e, energy=0.99), 2.0)
    after = restrain(restrain(delta, Restraint(prune=math.e), 2.0), Restraint(energy=0.99), 2.0)
    assert_near(both.dense(), after.dense(), CUT, scale=1)
    assert both.rank == after.rank == 4


def test_no_restraint_is_no_change(delta: Factored) -> None:
    assert restrain(delta, Restraint(), 1.0) is delta


def test_restraining_nothing(delta: Factored) -> None:
    zero = Factored.zero(7, 11)
    restraint = Restraint(prune=2.0, rank=3, energy=0.9)
    assert restrain(zero, restraint, 1.0).dense().norm() == 0


def test_numbers_out_of_range(delta: Factored) -> None:
    with pytest.raises(RestraintError, match="exceed 1"):
        restrain(delta, Restraint(prune=1.0), 2.0)
    with pytest.raises(RestraintError, match="not positive"):
        restrain(delta, Restraint(prune=2.0), 0.0)
    with pytest.raises(DeltaError, match="energy"):
        restrain(delta, Restraint(energy=2.0), 2.0)


def test_the_linear_variant_is_that_of_the_papers_code(delta: Factored) -> None:
    """Written there as ``s / 2 + s_max / 2`` for every value above s_max."""
    left, values, right = torch.linalg.svd(delta.dense(), full_matrices=False)
    for i, s in enumerate(values.tolist()):
        if s > 2.0:
            values[i] = 0.5 * s + 0.5 * 2.0
    found = restrain(delta, Restraint(linear=2.0), 2.0)
    assert found.rank == delta.rank
    assert_near(found.dense(), left * values @ right, CUT, scale=1)
    before, after = delta.singular_values(), found.singular_values()
    assert bool((after <= before + BOUND).all()), "it amplifies nothing"
    assert_near(after, [21.0, 5.5, 2.5, 1.9, 0.2], BOUND, scale=1)


def rect_by_the_paper(delta: torch.Tensor, weight: torch.Tensor, percent: float) -> torch.Tensor:
    """Entry by entry: rank all relative changes, keep the first k per cent."""
    u, v = delta.shape
    places = [(i, j) for i in range(u) for j in range(v)]
    places.sort(key=lambda at: -abs(float(delta[at]) / float(weight[at])))
    kept = torch.zeros_like(delta)
    for at in places[: round(u * v * percent / 100)]:
        kept[at] = delta[at]
    return kept


@pytest.mark.parametrize("percent", [1.0, 40.0, 99.0, 100.0])
def test_rect_keeps_the_largest_relative_changes(delta: Factored, percent: float) -> None:
    weight = torch.randn(7, 11, generator=torch.Generator().manual_seed(3))
    found = restrain(delta, Restraint(rect=percent), math.inf, weight=weight)
    expected = rect_by_the_paper(delta.dense(), weight.double(), percent)
    assert torch.equal(found.dense(), expected)
    assert found.rank == 7, "single entries have no low rank"


def test_rect_counts_a_changed_zero_as_the_largest_change() -> None:
    delta = torch.tensor([[1e-9, 5.0], [0.0, 2.0]], dtype=torch.float64)
    weight = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    found = restrain(Factored.of_dense(delta), Restraint(rect=25), 1.0, weight=weight)
    assert (found.dense() != 0).tolist() == [[True, False], [False, False]]


def test_rect_asks_for_the_weight(delta: Factored) -> None:
    with pytest.raises(RestraintError, match="missing"):
        restrain(delta, Restraint(rect=40), 1.0)


def test_drop_and_rescale_entry_by_entry(delta: Factored) -> None:
    """DARE's formula ``(1 - m) * delta / (1 - p)`` with the mask read off the result itself."""
    found = restrain(delta, Restraint(drop=0.8, seed=5), math.inf, layer=3).dense()
    dense = delta.dense()
    assert 0 < int((found != 0).sum()) < dense.numel()
    expected = torch.where(found != 0, dense / 0.2, torch.zeros_like(dense))
    assert_near(found, expected, rounding(4))  # 0.8 and 0.2, the difference, and the quotient


def test_what_is_dropped_is_the_same_everywhere() -> None:
    """Written down once: the raw stream of Philox under sha256 of seed and layer."""
    ones = torch.ones(2, 12, dtype=torch.float64)
    mask = (dropped(ones, 0.75, 7, 2) != 0).int().tolist()
    assert mask == [
        [0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1],
        [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_the_mask_depends_on_seed_and_layer_alone(delta: Factored) -> None:
    def mask(matrix: Factored, seed: int, layer: int) -> list[list[bool]]:
        found = restrain(matrix, Restraint(drop=0.5, seed=seed), 1.0, layer=layer)
        return (found.dense() != 0).tolist()

    assert mask(delta, 1, 1) == mask(delta.scaled(-3.0), 1, 1)
    assert mask(delta, 1, 1) != mask(delta, 2, 1)
    assert mask(delta, 1, 1) != mask(delta, 1, 2)


def test_drop_is_unbiased_over_seeds(delta: Factored) -> None:
    """The mean over seeds nears the delta as the standard error says it should."""
    dense, p, count = delta.dense(), 0.7, 4000
    mean = sum(dropped(dense, p, seed, 1) for seed in range(count)) / count
    error = dense.abs() * math.sqrt(p / (1 - p) / count)
    assert float(((mean - dense).abs() / error).max()) < 4.5
    assert float(((mean - dense) / error).square().mean()) == pytest.approx(1, abs=0.5)


def test_singular_values_come_before_entries(delta: Factored) -> None:
    weight = torch.randn(7, 11, generator=torch.Generator().manual_seed(3))
    together = restrain(delta, Restraint(linear=2.0, rect=40, drop=0.5), 2.0, weight=weight)
    step = restrain(delta, Restraint(linear=2.0), 2.0)
    step = restrain(step, Restraint(rect=40), 2.0, weight=weight)
    step = restrain(step, Restraint(drop=0.5), 2.0)
    assert torch.equal(together.dense(), step.dense())


@pytest.mark.parametrize(
    "wrong",
    [
        Restraint(linear=1.0),
        Restraint(rect=0.0),
        Restraint(rect=101),
        Restraint(drop=0.0),
        Restraint(drop=1.0),
        Restraint(drop=0.5, seed=-1),
        Restraint(seed=1),
        Restraint(prune=2.0, linear=2.0),
        Restraint(rank=2, drop=0.5),
        Restraint(energy=0.9, rect=40),
        Restraint(prune=math.nan),
        Restraint(drop=math.nan),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: Restraint) -> None:
    with pytest.raises(RestraintError):
        check(wrong)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 4)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_extreme_singular_values(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    values = torch.linalg.svdvals(weight.double())
    found = extreme_singular_values(weight)
    # The largest is exact to the order of a product and an eigendecomposition; the smallest is the
    # root of an eigenvalue of W W^T, whose condition is that of W squared.
    bound = rounding(weight.numel())
    assert_near(found[0], values[0], bound)
    assert_near(found[1], values[-1], bound * condition(weight) ** 2)
    assert largest_singular_value(weight) == found[0]


def test_a_badly_conditioned_weight_is_measured_by_svd() -> None:
    draw = torch.Generator().manual_seed(2)
    left, _ = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(9, 6, generator=draw, dtype=torch.float64))
    weight = left * torch.tensor([3.0, 1, 1, 1, 1, 3e-9]).double() @ right.T
    largest, smallest = extreme_singular_values(weight)
    # Relative to the largest; by the squares it would be off by the root of an eps, 2e-8.
    bound = rounding(weight.numel(), scale=3.0)
    assert_near(largest, 3.0, bound, scale=1)
    assert_near(smallest, 3e-9, bound, scale=1)


def test_masks_of_edits_are_their_own_and_make_equal_changes_nearly_orthogonal() -> None:
    ones = torch.ones(40, 50, dtype=torch.float64)
    masks = {slot: dropped(ones, 0.75, 7, 2, slot) for slot in ("", "a", "b")}
    assert torch.equal(masks["a"], dropped(ones, 0.75, 7, 2, "a"))
    for one, other in (("a", "b"), ("", "a")):
        cosine = float((masks[one] * masks[other]).sum() / masks[one].norm() / masks[other].norm())
        assert abs(cosine - 0.25) < 0.06  # 1 - p: of equal matrices, and 1 before
    assert not torch.equal(masks["a"], dropped(ones, 0.75, 7, 3, "a"))


def test_what_is_done_to_each_edit_is_not_done_to_the_sum(delta: Factored) -> None:
    each = Restraint(drop_each=0.5, seed=3)
    assert each.to_json() == {"seed": 3, "drop_each": 0.5}
    assert each.of_the_sum == Restraint()
    assert restrain(delta, each, 1.0) is delta
    cut = restrain(delta, Restraint(drop_each=0.5, rank=2), 1.0)
    assert cut.rank == 2
    with pytest.raises(RestraintError, match="one mask for all"):
        check(Restraint(drop=0.5, drop_each=0.5))
    with pytest.raises(RestraintError, match="drop_each is a probability"):
        check(Restraint(drop_each=1.0))
