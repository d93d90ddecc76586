"""Intervals of scores: the percentile bootstrap over facts, by a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

RESAMPLES = 1000
LEVEL = 95.0

Tally = Mapping[str, Sequence[bool]]
Interval = tuple[float, float] | None
"""Low and high, in per cent; None of nothing."""

Shares = Mapping[str, np.ndarray]
"""A share in per cent by column, ``(resamples,)`` each; NaN where a resample holds no outcome."""


def intervals(
    rows: Sequence[Tally],
    columns: Sequence[str],
    made: Mapping[str, Callable[[Shares], np.ndarray]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Interval]:
    """95% intervals of the shares of ``columns``, pooled over rows that are drawn with replacement.

    A row is a fact, whose prompts are not independent, so facts are drawn and not prompts. ``made``
    are scores computed from the shares of each resample. The interval says how much other facts of
    the kind would have given, on this very model.
    """
    hits = np.array([[sum(row.get(name, ())) for name in columns] for row in rows], float)
    counts = np.array([[len(row.get(name, ())) for name in columns] for row in rows], float)
    drawn = np.random.default_rng(seed).multinomial(
        len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES
    )  # (resamples, rows): how often each row was drawn
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = 100 * (drawn @ hits) / (drawn @ counts)
    shares = {name: rates[:, place] for place, name in enumerate(columns)}
    shares |= {name: make(shares) for name, make in (made or {}).items()}
    return {name: _interval(values) for name, values in shares.items()}


def mean_interval(values: np.ndarray, *, seed: int = 0) -> Interval:
    """The 95% interval of the mean of values, drawn with replacement."""
    drawn = np.random.default_rng(seed).multinomial(
        len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES
    )
    return _interval(drawn @ values / len(values))


def harmonic(*names: str) -> Callable[[Shares], np.ndarray]:
    """The harmonic mean of some columns; 0 where one is 0."""

    def make(shares: Shares) -> np.ndarray:
        values = np.stack([shares[name] for name in names])
        with np.errstate(divide="ignore"):
            return np.asarray(len(names) / (1 / values).sum(axis=0))

    return make


def average(*names: str) -> Callable[[Shares], np.ndarray]:
    """The mean of some columns."""
    return lambda shares: np.asarray(np.mean([shares[name] for name in names], axis=0))


def _interval(values: np.ndarray) -> Interval:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)
