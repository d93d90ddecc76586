"""How much a text repeats itself: n-gram entropy, share of new n-grams, adjusted perplexity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def ngrams(items: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    """Every run of ``n`` items, in order."""
    return [tuple(items[at : at + n]) for at in range(len(items) - n + 1)]


def entropy(items: Sequence[Hashable], n: int) -> float:
    """Entropy of the distribution of n-grams, in bits; 0 where there is none."""
    counts = Counter(ngrams(items, n))
    total = counts.total()
    return -sum(c / total * math.log2(c / total) for c in counts.values()) + 0.0 if total else 0.0


def fluency(items: Sequence[Hashable]) -> float:
    """ROME's generation entropy in bits: a third of that of 2-grams, two thirds of 3-grams'."""
    return (entropy(items, 2) + 2 * entropy(items, 3)) / 3


def unique_share(items: Sequence[Hashable], n: int = 2) -> float:
    """Rho of Lin et al.: n-grams that differ over n-grams; 1 where there is none."""
    grams = ngrams(items, n)
    return len({*grams}) / len(grams) if grams else 1.0


def adjusted_perplexity(perplexity: float, items: Sequence[Hashable], n: int = 2) -> float:
    """Lin et al. (2024, eq. 4): ``PPL * exp(1 - rho)``: a text that repeats itself is no better."""
    return perplexity * math.exp(1 - unique_share(items, n))
