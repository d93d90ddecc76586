"""The score of a disabling edit: fitted on half of the edits, judged on the other half."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from editvc.core.disabling import SMALLEST, Score

Row = Mapping[str, Any]
FEATURES = ("distance", "drift", "names", "leverage", "residual", "objective")
PERPLEXITY, LOST = 1.2, 0.2
"""An edit is disabling where perplexity on other text rises to this factor, or more than this share
of other facts is lost. Gupta et al. 2024 mark theirs by the distance alone; Yang et al. 2024 ("The
Butterfly Effect of Model Editing", arXiv 2402.09656) by a perplexity past a bound: so is ours, and
relative, for bases differ."""
RIDGE = 1.0
DRAWS, SEED = 1000, 0


def disables(row: Row) -> bool:
    """Whether an edit did what the score is to foresee."""
    return not (row["ppl"] < PERPLEXITY and row["lost"] <= LOST)


def halves(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to calibrate on, and rows to judge by: parted by the numbers of the edits.

    Kinds alternate seven by seven, so each is in both halves.
    """
    known = [*rows]
    return [one for one in known if one["number"] % 2 == 0], [
        one for one in known if one["number"] % 2
    ]


def fitted(rows: Sequence[Row]) -> dict[str, Any]:
    """Ridge logistic regression on the logarithms of the figures; what ``disabling.json`` holds.

    A figure that an edit lacks counts as the mean. The threshold is where the share of disabling
    edits that are told, less that of false alarms, is largest among these rows.
    """
    logs = np.array(
        [
            [math.log(max(row["figures"][name], SMALLEST)) if name in row["figures"] else math.nan
             for name in FEATURES]
            for row in rows
        ]
    )  # fmt: skip
    means, scales = np.nanmean(logs, axis=0), np.nanstd(logs, axis=0)
    design = np.nan_to_num((logs - means) / scales)
    design = np.column_stack([np.ones(len(rows)), design])
    truth = np.array([disables(row) for row in rows], dtype=float)
    penalty = RIDGE * np.diag([0.0, *[1.0] * len(FEATURES)])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (truth - chance) - penalty @ weights
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + penalty
        weights = weights + np.linalg.solve(curvature, gradient)
    record = {
        "intercept": _round(weights[0]),
        "weights": {
            name: {"mean": _round(means[i]), "scale": _round(scales[i]),
                   "weight": _round(weights[i + 1])}
            for i, name in enumerate(FEATURES)
        },
        "threshold": 0.5,
    }  # fmt: skip
    score = Score.from_json(record)
    pairs = [(score.chance(row["figures"]), disables(row)) for row in rows]
    record["threshold"] = round(best_threshold(pairs), 2)
    return record


def _round(value: float) -> float:
    return float(f"{value:.6g}")


Pair = tuple[float, bool]
"""A chance that was told, and whether the edit disabled the model."""


def best_threshold(pairs: Sequence[Pair]) -> float:
    """Youden's: midway between two chances, where hits less false alarms are most."""
    values = sorted({chance for chance, _ in pairs})
    middles = [(one + other) / 2 for one, other in pairwise(values)]
    return max(middles, key=lambda limit: rate(pairs, limit, True) - rate(pairs, limit, False))


def rate(pairs: Sequence[Pair], limit: float, disabling: bool) -> float:
    """The share past the limit of the edits that did (or did not) disable."""
    some = [chance > limit for chance, truth in pairs if truth is disabling]
    return sum(some) / len(some) if some else math.nan


def auroc(pairs: Sequence[Pair]) -> float:
    """How often a disabling edit has the higher chance of two; equal ones count as half."""
    bad = np.array([chance for chance, truth in pairs if truth])
    good = np.array([chance for chance, truth in pairs if not truth])
    if not len(bad) or not len(good):
        return math.nan
    above = (bad[:, None] > good).mean() + (bad[:, None] == good).mean() / 2
    return float(above)


def interval(
    pairs: Sequence[Pair], figure: Callable[[Sequence[Pair]], float]
) -> tuple[float, float, float]:
    """A figure with its 95% bootstrap interval over edits."""
    chance = random.Random(SEED)
    drawn = (figure(chance.choices(pairs, k=len(pairs))) for _ in range(DRAWS))
    found = sorted(value for value in drawn if not math.isnan(value))
    low, high = found[int(0.025 * len(found))], found[int(0.975 * len(found)) - 1]
    return figure(pairs), low, high


def roc(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """False alarms and hits at every limit, from none told to all."""
    limits = [math.inf, *sorted({chance for chance, _ in pairs}, reverse=True), -math.inf]
    return [(rate(pairs, limit, False), rate(pairs, limit, True)) for limit in limits]
