"""Fusion rules in words: what is read, what is spelt out, and what is refused."""

from __future__ import annotations

import pytest

from editvc.core.fusion_rule import RULES, FusionError, FusionRule


@pytest.mark.parametrize("name", RULES)
def test_a_rule_spelt_out_is_the_same_rule(name: str) -> None:
    rule = FusionRule.of(name)
    assert rule.numbers == {one.name: one.default for one in RULES[name]}
    assert FusionRule.of(rule.words) == rule


def test_numbers_stand_behind_the_name_in_order() -> None:
    assert FusionRule.of("drop:0.5:7").to_json() == {"rule": "drop", "p": 0.5, "seed": 7}
    assert FusionRule.of("lookahead:0.25").numbers == {"share": 0.25, "every": 5}
    assert FusionRule.of("drop:0.8") == FusionRule.of("drop"), "one rule, one result"


@pytest.mark.parametrize(
    "text",
    ["drop:1", "drop:0", "drop:x", "drop:0.5:-1", "drop:0.5:1.5", "sum:1", "top:101", "prune:1",
     "wise-ft:1.1", "lookahead:0.5:0", "prune:nan", "drop:"],
)  # fmt: skip
def test_what_is_out_of_range_is_refused_with_what_may_stand_there(text: str) -> None:
    with pytest.raises(FusionError) as refused:
        FusionRule.of(text)
    assert f"Write {text.partition(':')[0]}" in refused.value.hint


def test_another_name_is_told_the_nearest() -> None:
    with pytest.raises(FusionError, match="lokahead") as refused:
        FusionRule.of("lokahead")
    assert "Did you mean 'lookahead'?" in refused.value.hint
