"""What a paper claims, and what measured rows say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from experiments.rows import Missing, Rows

REPRODUCED, REFUTED, UNTESTABLE = "reproduced", "refuted", "not testable here"
ILLUSTRATION, UNMEASURED = "nothing to measure", "not measured yet"
OUTCOMES = (REPRODUCED, REFUTED, UNTESTABLE, ILLUSTRATION, UNMEASURED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome of :data:`OUTCOMES`, and the numbers or the reason in words."""

    outcome: str
    words: str


@dataclass(frozen=True, slots=True)
class Table:
    """Titles and rows of cells, all text."""

    titles: Sequence[str]
    cells: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines of points by label (``lines``), points alone, or a square of numbers (``square``)."""

    name: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    square: Sequence[Sequence[float]] = ()
    points: bool = False
    logarithmic: bool = False


Shown = Table | Plot


@dataclass(frozen=True, slots=True)
class Item:
    """A claim of a paper, and where it stands in it.

    ``part`` measures it (empty where none can), ``judge`` decides by the rows, ``show`` gives our
    tables and plots, on the paper's axes. ``rule`` says in words when the claim counts as
    reproduced, where the paper does not: such a rule is ours.
    """

    paper: str
    place: str
    claim: str
    part: str
    judge: Callable[[Rows], Verdict]
    rule: str = ""
    show: Callable[[Rows], Sequence[Shown]] | None = None

    def verdict(self, rows: Rows) -> Verdict:
        """What the rows say; that they are missing where they are."""
        try:
            return self.judge(rows)
        except Missing as missing:
            return Verdict(UNMEASURED, f"`python benchmarks/papers.py --part {missing.part}`")

    def shown(self, rows: Rows) -> Sequence[Shown]:
        """Its tables and plots, as far as rows are there."""
        try:
            return self.show(rows) if self.show else ()
        except Missing:
            return ()


def decided(holds: bool, words: str) -> Verdict:
    """Reproduced or refuted."""
    return Verdict(REPRODUCED if holds else REFUTED, words)


def untestable(why: str) -> Callable[[Rows], Verdict]:
    """A judge of what cannot be tested on the models and data at hand."""
    return lambda _rows: Verdict(UNTESTABLE, why)


def illustration(what: str) -> Callable[[Rows], Verdict]:
    """A judge of what claims nothing that could be measured."""
    return lambda _rows: Verdict(ILLUSTRATION, what)


def number(value: Any, digits: int = 3) -> str:
    """A number in a sentence or a cell; a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.{digits}g}"


def per_cent(value: float | None) -> str:
    """A share in per cent."""
    return "-" if value is None else f"{value:.1f}%"


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation; ties share their mean rank."""
    return pearson(_ranks(x), _ranks(y))


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    """Correlation of two lists; 0 where one of them is constant."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread_x = sum((each - mean_x) ** 2 for each in x)
    spread_y = sum((each - mean_y) ** 2 for each in y)
    together = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return float(together / (spread_x * spread_y) ** 0.5) if spread_x and spread_y else 0.0


def paired_t_test(differences: Sequence[float]) -> tuple[float, float]:
    """The mean of differences, and the p-value of Student's two-sided test that it is 0."""
    count = len(differences)
    centre = mean(differences)
    error = stdev(differences) / math.sqrt(count)
    if not error:
        return centre, float(centre == 0)
    return centre, 2 * _tail_of_t(abs(centre) / error, count - 1)


def _tail_of_t(t: float, freedom: int) -> float:
    """P(T > t), by Simpson's rule over the angle ``atan(t / sqrt(freedom))`` up to a right one."""
    low, steps = math.atan(t / math.sqrt(freedom)), 2000
    width = (math.pi / 2 - low) / steps
    heights = [math.cos(low + place * width) ** (freedom - 1) for place in range(steps + 1)]
    area = width / 3 * (
        heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
    )  # fmt: skip
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(math.pi) * math.gamma(freedom / 2))
    return scale * area


def _ranks(values: Sequence[float]) -> list[float]:
    below = [sum(other < value for other in values) for value in values]
    alike = [sum(other == value for other in values) for value in values]
    return [low + (same - 1) / 2 for low, same in zip(below, alike, strict=True)]
