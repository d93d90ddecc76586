"""Intervals: what resampling must give, and against the plain loop that it stands for."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from editvc.evaluation.bootstrap import average, harmonic, intervals
from editvc.evaluation.score_columns import Scores, harmonic_mean, mean, share

ROWS = [
    {"es": [number % 3 > 0], "ps": [True, number % 2 > 0], "ns": [number % 5 > 0] * (number % 4)}
    for number in range(60)
]


def test_what_never_varies_has_no_width_and_nothing_has_no_interval() -> None:
    found = intervals([{"a": [True]}, {"a": [True, True], "b": []}], ["a", "b"])
    assert found == {"a": (100.0, 100.0), "b": None}


def test_the_same_seed_gives_the_same_and_another_gives_another() -> None:
    names = ["es", "ps", "ns"]
    assert intervals(ROWS, names) == intervals(ROWS, names)
    assert intervals(ROWS, names) != intervals(ROWS, names, seed=1)


def test_of_single_outcomes_it_is_about_the_normal_interval() -> None:
    rows = [{"a": [number < 240]} for number in range(400)]
    low, high = intervals(rows, ["a"])["a"] or (0, 0)
    error = 100 * math.sqrt(0.6 * 0.4 / 400)
    assert low == pytest.approx(60 - 1.96 * error, abs=0.8)
    assert high == pytest.approx(60 + 1.96 * error, abs=0.8)


def test_facts_are_drawn_and_not_their_prompts() -> None:
    """Ten prompts of a fact that always agree say no more than one."""
    one = [{"a": [number < 30]} for number in range(60)]
    ten = [{"a": [number < 30] * 10} for number in range(60)]
    assert intervals(one, ["a"]) == intervals(ten, ["a"])


def test_against_a_loop_that_draws_facts_one_by_one() -> None:
    found = intervals(ROWS, ["es", "ps", "ns"], {"s": harmonic("es", "ps", "ns")})
    chance = random.Random(7)
    values: dict[str, list[float]] = {"es": [], "ps": [], "ns": [], "s": []}
    for _ in range(2000):
        drawn = [chance.choice(ROWS) for _ in ROWS]
        shares = [share([each for row in drawn for each in row[n]]) for n in ("es", "ps", "ns")]
        for name, value in zip(values, [*shares, harmonic_mean(*shares)], strict=True):
            values[name].append(value or 0.0)
    for name, drawn_values in values.items():
        low, high = found[name] or (0, 0)
        plain = np.percentile(drawn_values, [2.5, 97.5])
        assert (low, high) == pytest.approx(plain.tolist(), abs=3), name


def test_means() -> None:
    shares = {"a": np.array([50.0, 0.0]), "b": np.array([100.0, 100.0])}
    assert harmonic("a", "b")(shares).tolist() == pytest.approx([200 / 3, 0.0])
    assert average("a", "b")(shares).tolist() == [75.0, 50.0]
    assert harmonic_mean(50.0, 100.0) == pytest.approx(200 / 3)
    assert harmonic_mean(0.0, 100.0) == 0.0 and harmonic_mean(None, 1.0) is None
    assert mean(1.0, 2.0) == 1.5 and mean(None) is None


def test_scores_pool_prompts() -> None:
    rows = [
        {"es": [True], "ps": [True, False], "ns": [True], "eff": [True], "par": [], "spe": [False]},
        {"es": [False], "ps": [], "ns": [True, True, False], "eff": [True], "par": [True],
         "spe": [True, True, True]},
    ]  # fmt: skip
    scores = Scores.of(rows)
    assert (scores.es, scores.ps, scores.ns) == (50.0, 50.0, 75.0)
    assert scores.s == pytest.approx(3 / (1 / 50 + 1 / 50 + 1 / 75))
    assert (scores.eff, scores.par, scores.spe) == (100.0, 100.0, 75.0)
    assert scores.avg == pytest.approx(275 / 3)
