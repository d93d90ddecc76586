"""The forecast of safe edits: a power law carried on to a limit."""

from __future__ import annotations

import random
from math import exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.forecast import AWAY, HORIZON, LEAST, MOST, Line, forecast, quantile, run_of
from editvc.core.thresholds import Thresholds

LIMITS = Thresholds()


def power(first: float, exponent: float, counts: range, noise: float = 0.0) -> list:
    chance = random.Random(7)
    return [(n, {"spectral": first * n**exponent * exp(chance.gauss(0, noise))}) for n in counts]


def test_an_exact_power_law_is_carried_on_to_where_it_meets_the_limit() -> None:
    found = forecast(power(0.1, 1.0, range(10, 101, 10)), LIMITS)  # 20 at 200 edits
    assert found is not None and found.figure == "spectral" and found.commits == MOST
    for value in (found.more, found.low, found.high):
        assert value is not None and abs(value - 100) <= 2


@given(first=st.floats(0.01, 0.1), exponent=st.floats(0.2, 2.0))
def test_the_estimate_lies_in_its_interval(first: float, exponent: float) -> None:
    found = forecast(power(first, exponent, range(5, 60, 5), noise=0.05), LIMITS)
    assert found is not None
    low, more, high = (inf if one is None else one for one in (found.low, found.more, found.high))
    assert 0 <= low <= more <= high


def test_a_limit_that_is_passed_leaves_nothing() -> None:
    found = forecast(power(1.0, 1.0, range(10, 101, 10)), LIMITS)
    assert found is not None and (found.more, found.low) == (0, 0)


def test_what_does_not_grow_is_beyond_the_horizon() -> None:
    found = forecast([(n, {"drift": 0.1}) for n in range(10, 101, 10)], LIMITS)
    assert found is not None and (found.more, found.low, found.high) == (None, None, None)
    assert "more than can be told" in found.line


def test_the_figure_that_may_pass_first_is_told() -> None:
    points = [
        (n, {"drift": 0.001 * n, "spectral": 0.15 * n, "correlation": 1 - 0.001 * n})
        for n in range(10, 101, 10)
    ]
    found = forecast(points, LIMITS)
    assert found is not None and found.figure == "spectral"


def test_an_alarm_looks_no_further_than_the_set_is_large() -> None:
    found = forecast(power(0.1, 1.0, range(10, 101, 10)), LIMITS)  # 100 live, about 100 more
    assert found is not None and found.live == 100 and found.low is not None
    assert not found.too_few(50) and not found.too_few(found.low)
    assert found.too_few(found.low + 1) is (found.low < 100)
    early = forecast(power(10.0, 0.5, range(1, 6)), LIMITS)  # 4 live edits at the limit of 20
    assert early is not None and early.low is not None and early.too_few(50)


def test_too_few_commits_tell_nothing() -> None:
    assert forecast([], LIMITS) is None
    assert forecast(power(0.1, 1.0, range(10, 10 * LEAST, 10)), LIMITS) is None


@pytest.mark.parametrize("at", [90, 95])
def test_a_run_ends_where_edits_were_taken_back(at: int) -> None:
    points = power(0.1, 1.0, range(10, 91, 10))
    after = [(at - 10 * step, figures) for step, (_, figures) in enumerate(points[:3], 1)]
    rising = [(live + 1, figures) for live, figures in reversed(after)]
    assert run_of([*points, *rising]) == [point for point in rising if point[0] > 0]
    assert len(run_of(points)) == 9 <= MOST


def test_a_line_is_that_of_least_squares() -> None:
    line = Line.through([(0, 1), (1, 3), (2, 4), (3, 8)])
    assert (line.a, line.b) == pytest.approx((0.7, 2.2))
    assert line.deviation**2 == pytest.approx(1.8 / 2)  # residuals 0.3 0.1 -1.1 0.7


@pytest.mark.parametrize(("freedom", "known"), [(3, 3.182), (5, 2.571), (8, 2.306), (30, 2.042)])
def test_quantiles_are_students(freedom: int, known: float) -> None:
    assert quantile(freedom) == pytest.approx(known, rel=0.01)


def test_every_figure_has_a_limit_away_from_the_base() -> None:
    for name, away in AWAY.items():
        assert away(getattr(LIMITS, f"{name}_refuse")) > 0
    assert log(HORIZON) > 0
