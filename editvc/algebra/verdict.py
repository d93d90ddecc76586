"""What figures amount to: each is judged by its worst layer against its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from editvc.core.thresholds import Thresholds

Level = Literal["ok", "warn", "refuse"]


class OfLayer(Protocol):
    """Figures of one layer, attributes by name."""

    @property
    def layer(self) -> int:
        """The number of the layer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures amount to: refusals and warnings, in words."""

    refused: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """The worst of what was found."""
        return "refuse" if self.refused else "warn" if self.warned else "ok"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What led to it, refusals first."""
        return self.refused + self.warned

    def __add__(self, other: Verdict) -> Verdict:
        """Both together."""
        return Verdict(self.refused + other.refused, self.warned + other.warned)


def judge(layers: Sequence[OfLayer], figures: Mapping[str, str], thresholds: Thresholds) -> Verdict:
    """Judge every figure, named with its words, by its worst layer.

    A figure past its ``_refuse`` limit refuses, past its ``_warn`` limit warns; values at a limit
    are within it. A figure that is not a number refuses. Lower is worse for ``correlation`` alone.
    """
    refused: list[str] = []
    warned: list[str] = []
    for figure, words in figures.items():
        if not layers:
            break
        sign = -1 if figure == "correlation" else 1
        worst = max(layers, key=lambda layer: _rank(sign * getattr(layer, figure)))
        value = getattr(worst, figure)
        for level, reasons in (("refuse", refused), ("warn", warned)):
            limit = getattr(thresholds, f"{figure}_{level}")
            if not sign * value <= sign * limit:
                reasons.append(
                    f"layer {worst.layer}: {words.format(value=value)} "
                    f"({'refused' if level == 'refuse' else 'a warning'} "
                    f"{'below' if sign < 0 else 'above'} {figure}_{level} = {limit:g})"
                )
                break
    return Verdict(tuple(refused), tuple(warned))


def _rank(value: float) -> float:
    return math.inf if math.isnan(value) else value
