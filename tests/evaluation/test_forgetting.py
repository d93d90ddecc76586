"""A[t, j] of a small history, worked out by hand."""

from __future__ import annotations

from editvc.evaluation.forgetting import forgetting, overall, spaced

HELD = {
    (0, 0): [True, True, False],
    (1, 1): [True],
    (2, 0): [True, False, True],
    (2, 1): [None],
    (2, 2): [False, False],
    (3, 0): [None, True, True],
    (3, 1): [False],
    (3, 2): [True, False],
    (3, 3): [True],
}
"""The third edit of step 0 never held at once; that of step 1 was not live after step 2."""


def test_forgetting_counts_edits_that_held_once() -> None:
    assert forgetting(HELD, 2) == 50.0
    assert forgetting(HELD, 3) == 50.0, "one of step 0 is kept, that of step 1 is not"
    assert forgetting(HELD, 0) is None


def test_overall_is_the_mean_of_all_that_are_asked() -> None:
    assert overall(HELD, 2) == 100 * 2 / 5
    assert overall(HELD, 3) == 100 * 4 / 6
    assert overall(HELD, 9) is None


def test_checkpoints_are_spaced_and_end_with_the_last() -> None:
    assert spaced([1, 2, 3], 5) == [1, 2, 3]
    assert spaced([*range(100)], 4) == [24, 49, 74, 99]
