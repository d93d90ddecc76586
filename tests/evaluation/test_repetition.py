"""N-grams by hand."""

from __future__ import annotations

import math

import pytest

from editvc.evaluation.repetition import (
    adjusted_perplexity,
    entropy,
    fluency,
    ngrams,
    unique_share,
)


def test_ngrams() -> None:
    assert ngrams("abca", 2) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert ngrams("ab", 3) == []


def test_entropy_by_hand() -> None:
    assert entropy("abab", 2) == pytest.approx(
        -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    )
    assert entropy("abcde", 2) == 2.0 and entropy("aaaa", 2) == 0.0 and entropy("a", 2) == 0.0


def test_fluency_weighs_trigrams_twice() -> None:
    """abcde has 4 bigrams and 3 trigrams, all different."""
    assert fluency("abcde") == pytest.approx((2 + 2 * math.log2(3)) / 3)


def test_adjusted_perplexity_by_hand() -> None:
    assert unique_share("abab") == pytest.approx(2 / 3)
    assert adjusted_perplexity(10.0, "abab") == pytest.approx(10 * math.exp(1 / 3))
    assert adjusted_perplexity(10.0, "abcd") == 10.0 and unique_share("a") == 1.0
