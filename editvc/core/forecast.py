"""How many more edits of the kind of the last ones are safe: figures of history, carried on.

The model is a power law: what a figure g is away from that of the base grows as
``log g = a + b log n`` with the number n of live edits, fitted by least squares to the commits of
the run that HEAD ends. Where it meets the limit at which a verdict refuses, edits are no longer
safe; the interval is that of a new observation of such a regression. Nobody's law: it is ours, and
tested on runs that collapse and on one that does not (docs/foresight.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.thresholds import Thresholds

AWAY: Mapping[str, Callable[[float], float]] = {
    "norm_growth": lambda value: value - 1,
    "spectral": lambda value: value,
    "condition": lambda value: value - 1,
    "drift": lambda value: value,
    "name_drift": lambda value: value,
    "leak": lambda value: value,
    "capacity": lambda value: value,
    "correlation": lambda value: 1 - value,
}
"""The figures with a limit that grow with a set, as what they are away from the base's."""

LEAST = 5
"""Commits of a run that a line is put through."""
MOST = 10
"""Of the last so many: what edits do changes as they grow in number."""
HORIZON = 20.0
"""How many times the live edits a forecast looks ahead."""
STEPS = 400
NORMAL = 1.959964
"""The 97.5% quantile of the normal distribution."""

Point = tuple[int, Mapping[str, float]]
"""The live edits of a commit, and its worst layer's figures."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """After ``more`` edits, ``low`` to ``high`` with 95%, ``figure`` passes its refusal.

    None is beyond the horizon. ``live`` are the edits so far, ``commits`` how many the line was put
    through.
    """

    figure: str
    live: int
    more: int | None
    low: int | None
    high: int | None
    commits: int

    def too_few(self, limit: float) -> bool:
        """Whether fewer than so many are safe, at the low end, before the set has doubled.

        Further ahead than that a few commits tell too little for an alarm. A limit below 1 is none.
        """
        return self.low is not None and self.low < math.floor(min(limit, self.live))

    @property
    def line(self) -> str:
        """In words."""
        more, low, high = (
            "more than can be told" if one is None else str(one)
            for one in (self.more, self.low, self.high)
        )
        return (
            f"forecast: {more} further edits like the last (95%: {low} to {high}) until "
            f"{self.figure}_refuse, by a power law over {self.commits} commits"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``health --json``."""
        return {name: getattr(self, name) for name in self.__slots__}


def run_of(points: Sequence[Point]) -> list[Point]:
    """The last points, oldest first, along which the live edits only grow: at most ``MOST``.

    A revert, a squash or a restraint ends a run: what comes after it is of another kind.
    """
    run: list[Point] = []
    for point in reversed(points):
        if point[0] <= 0 or (run and point[0] >= run[-1][0]) or len(run) == MOST:
            break
        run.append(point)
    return run[::-1]


def forecast(points: Sequence[Point], limits: Thresholds) -> Forecast | None:
    """Of the figures that grow, the one that may pass its refusal first; None of too few commits.

    ``points`` are those of history, oldest first.
    """
    run = run_of(points)
    found = [one for name in AWAY if (one := _of_figure(name, run, limits)) is not None]
    return min(found, key=lambda one: math.inf if one.low is None else one.low, default=None)


def _of_figure(name: str, run: Sequence[Point], limits: Thresholds) -> Forecast | None:
    away = [(live, AWAY[name](figures[name])) for live, figures in run if name in figures]
    known = [(math.log(live), math.log(value)) for live, value in away if value > 0]
    refused = AWAY[name](getattr(limits, f"{name}_refuse"))
    if len(known) < LEAST or refused <= 0:  # a limit that the base itself would not meet
        return None
    live, limit = run[-1][0], math.log(refused)
    line = Line.through(known)
    crossed = [
        next((n for n, x in _ahead(live) if line.at(x) + sign * line.spread(x) >= limit), None)
        for sign in (0, 1, -1)
    ]
    more, low, high = (None if n is None else max(0, math.floor(n - live)) for n in crossed)
    return Forecast(name, live, more, low, high, len(known))


def _ahead(live: int) -> Iterator[tuple[float, float]]:
    """Numbers of edits from those that are live to the horizon, with their logarithms."""
    for step in range(STEPS + 1):
        x = math.log(live) + math.log(HORIZON) * step / STEPS
        yield math.exp(x), x


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line ``y = a + b x`` through points, with what is needed of its errors."""

    a: float
    b: float
    mean: float
    squares: float
    deviation: float
    points: int

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line:
        """Through three points or more, not all at one x."""
        count = len(points)
        mean = sum(x for x, _ in points) / count
        level = sum(y for _, y in points) / count
        squares = sum((x - mean) ** 2 for x, _ in points)
        b = sum((x - mean) * (y - level) for x, y in points) / squares
        a = level - b * mean
        rest = sum((y - a - b * x) ** 2 for x, y in points)
        return cls(a, b, mean, squares, math.sqrt(rest / (count - 2)), count)

    def at(self, x: float) -> float:
        """The line's y."""
        return self.a + self.b * x

    def spread(self, x: float) -> float:
        """Half of the 95% interval of a new observation at x."""
        share = 1 + 1 / self.points + (x - self.mean) ** 2 / self.squares
        return quantile(self.points - 2) * self.deviation * math.sqrt(share)


def quantile(freedom: int) -> float:
    """The 97.5% quantile of Student's t with 3 degrees of freedom or more, to 1 per cent.

    Fisher and Cornish's expansion about the normal one (Abramowitz and Stegun, 26.7.5).
    """
    z = NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
