"""The score of a disabling edit: a chance, from what is known of an edit before it is committed.

The weights of the figures are fitted, and not chosen: ``benchmarks/foresight.py`` writes
``editvc/data/disabling.json`` from edits that were made and measured (docs/foresight.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

SMALLEST = 1e-12
"""Figures enter by their logarithm, no smaller than this."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A figure's part in the score: that of its logarithm, less ``mean``, over ``scale``."""

    mean: float
    scale: float
    weight: float


@dataclass(frozen=True, slots=True)
class Score:
    """A logistic score over figures by name; ``threshold`` is the operating point found with it."""

    intercept: float
    weights: Mapping[str, Weight]
    threshold: float

    def chance(self, figures: Mapping[str, float]) -> float:
        """The chance in [0, 1] that an edit with these figures disables the model.

        A figure that is not known counts as the mean of those that the score was fitted on. One
        that is not finite is certain.
        """
        if not all(math.isfinite(value) for value in figures.values()):
            return 1.0
        total = self.intercept + sum(
            one.weight * (math.log(max(figures[name], SMALLEST)) - one.mean) / one.scale
            for name, one in self.weights.items()
            if name in figures
        )
        return 1 / (1 + math.exp(-total)) if total > -700 else 0.0

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Score:
        """From ``editvc/data/disabling.json``."""
        weights = {name: Weight(**one) for name, one in record["weights"].items()}
        return cls(record["intercept"], weights, record["threshold"])


@cache
def shipped_score() -> Score:
    """The score that editvc was calibrated with."""
    file = resources.files("editvc.data") / "disabling.json"
    return Score.from_json(json.loads(file.read_text(encoding="utf-8")))
