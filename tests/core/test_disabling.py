"""The score of a disabling edit: a logistic one over logarithms of figures."""

from __future__ import annotations

from math import exp, inf, log, nan

import pytest

from editvc.core.disabling import SMALLEST, Score, Weight, shipped_score
from editvc.core.thresholds import Thresholds

SCORE = Score(-1.0, {"distance": Weight(log(0.1), 2.0, 3.0), "drift": Weight(0.0, 1.0, 0.5)}, 0.5)


def logistic(value: float) -> float:
    return 1 / (1 + exp(-value))


def test_the_score_is_the_formula() -> None:
    found = SCORE.chance({"distance": 0.2, "drift": 3.0})
    assert found == pytest.approx(logistic(-1 + 3 * log(2) / 2 + 0.5 * log(3)))


def test_a_figure_that_is_not_known_counts_as_the_mean() -> None:
    assert SCORE.chance({"distance": 0.1}) == pytest.approx(logistic(-1))
    assert SCORE.chance({"distance": 0.1, "beside": 7.0}) == pytest.approx(logistic(-1))
    assert SCORE.chance({}) == pytest.approx(logistic(-1))


def test_nothing_at_all_is_harmless_and_what_is_not_finite_is_not() -> None:
    assert SCORE.chance({"distance": 0.0}) == SCORE.chance({"distance": SMALLEST}) < 1e-6
    assert SCORE.chance({"distance": inf}) == SCORE.chance({"drift": nan}) == 1


def test_a_score_is_read_as_it_is_written() -> None:
    weights = {"distance": {"mean": 1.0, "scale": 2.0, "weight": 3.0}}
    record = {"intercept": 0.5, "weights": weights, "threshold": 0.4}
    assert Score.from_json(record) == Score(0.5, {"distance": Weight(1.0, 2.0, 3.0)}, 0.4)


def test_the_limit_is_the_operating_point_of_the_calibration() -> None:
    assert Thresholds().disabling_warn == shipped_score().threshold


def test_more_distance_and_drift_are_never_safer() -> None:
    mild = {"distance": 0.01, "drift": 1e-4, "names": 1e-4}
    wild = {"distance": 1.0, "drift": 1.0, "names": 1.0}
    assert shipped_score().chance(mild) < shipped_score().threshold < shipped_score().chance(wild)
