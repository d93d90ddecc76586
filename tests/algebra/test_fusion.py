"""Fusion rules against sequences worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from editvc.algebra.fusion import FUSIONS, Kept, fusion_of
from editvc.core.fusion_rule import RULES, FusionRule

ZERO = torch.zeros(2, 2, dtype=torch.float64)
WEIGHT = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
UPDATES = [
    torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64) * factor for factor in (6, 2, 1, 8)
]


def fused(text: str, updates: list[Tensor] = UPDATES) -> tuple[list[float], list[float]]:
    """The upper left entry of D after every update, and of what the model is asked with."""
    rule = fusion_of(FusionRule.of(text))
    kept: Kept = {"total": ZERO}
    totals, shown = [], []
    for step, update in enumerate(updates, 1):
        kept = rule.joined(kept, rule.update(update, WEIGHT, "0", step), step)
        totals.append(float(kept["total"][0, 0]))
        shown.append(float(rule.shown(kept["total"], WEIGHT)[0, 0]))
    return totals, shown


def test_every_rule_has_its_numbers() -> None:
    assert FUSIONS.keys() == RULES.keys()
    for name in RULES:
        assert fusion_of(FusionRule.of(name)).update(ZERO, WEIGHT + 1, "0", 1).shape == (2, 2)


def test_sums_and_means() -> None:
    assert fused("sum") == ([6, 8, 9, 17],) * 2
    assert fused("average")[0] == pytest.approx([6, 4, 3, 17 / 4])
    assert fused("alone") == ([6, 2, 1, 8],) * 2


def test_what_the_next_update_is_found_under() -> None:
    total = 2 * WEIGHT
    assert not fusion_of(FusionRule.of("alone")).before(total).any()
    for name in RULES.keys() - {"alone"}:
        assert torch.equal(fusion_of(FusionRule.of(name)).before(total), total), name


def test_lookahead_takes_fast_weights_back_to_slow_ones() -> None:
    """0 -> 6 -> 8, back to 4; 5 -> 13, back to 4 + (13 - 4) / 2."""
    assert fused("lookahead:0.5:2")[0] == [6, 4, 5, 8.5]
    assert fused("lookahead:1:2")[0] == fused("sum")[0]


def test_wise_ft_and_prune_change_only_what_is_asked() -> None:
    assert fused("wise-ft:0.25") == ([6, 8, 9, 17], [1.5, 2, 2.25, 4.25])
    totals, shown = fused("prune")
    assert totals == [6, 8, 9, 17]
    assert shown == pytest.approx([math.log(total / 3) + 3 for total in totals])
    assert fused("prune-linear:2")[1] == pytest.approx([4.5, 5.5, 6, 10])


def test_top_keeps_the_largest_entries_and_rect_the_largest_relative_changes() -> None:
    weight = torch.tensor([[4.0, 1.0], [8.0, 1.0]], dtype=torch.float64)
    update = torch.tensor([[4.0, -3.0], [-5.0, 0.5]], dtype=torch.float64)
    top = fusion_of(FusionRule.of("top:50")).update(update, weight, "0", 1)
    assert top.tolist() == [[4, 0], [-5, 0]]
    rect = fusion_of(FusionRule.of("rect:50")).update(update, weight, "0", 1)
    assert rect.tolist() == [[4, -3], [0, 0]]


def test_drop_has_a_fresh_mask_for_each_step_and_weight() -> None:
    drop = fusion_of(FusionRule.of("drop:0.75:3"))
    ones = torch.ones(64, 64, dtype=torch.float64)
    first, second, elsewhere = (
        drop.update(ones, ones, place, step) for place, step in (("0", 1), ("0", 2), ("1", 1))
    )
    assert {*first.flatten().tolist()} == {0.0, 4.0}
    assert 0.2 < float((first > 0).double().mean()) < 0.3
    assert not torch.equal(first, second) and not torch.equal(first, elsewhere)
    assert torch.equal(first, drop.update(ones, ones, "0", 1))
    both = float(((first > 0) & (second > 0)).double().mean())
    assert both < 0.1, "masks are independent: two of four steps meet in a sixteenth of the entries"
