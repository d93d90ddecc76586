"""ddmin: what it leaves fails, nothing of it can be left out, and one culprit is found quickly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from editvc.core.delta_debugging import ddmin


def needing(*groups: set[int]) -> Callable[[Sequence[int]], bool]:
    """Fails where all of any group are there."""
    return lambda items: any(group <= set(items) for group in groups)


@given(st.integers(1, 60), st.data())
def test_a_planted_group_is_found_exactly(count: int, data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=5))
    assert ddmin(range(count), needing(culprits)) == sorted(culprits)


@given(st.integers(1, 40), st.data())
def test_the_result_is_1_minimal_whatever_fails(count: int, data: st.DataObject) -> None:
    """Even for tests that a larger set may pass and a smaller one fail."""
    whole = tuple(range(count))
    salt = data.draw(st.integers())

    def fails(items: Sequence[int]) -> bool:
        return tuple(items) == whole or (bool(items) and hash((salt, *items)) % 3 == 0)

    found = ddmin(whole, fails)
    assert fails(found)
    for left_out in found:
        rest = [item for item in found if item != left_out]
        assert not rest or not fails(rest)


@given(st.integers(1, 4000), st.data())
def test_one_culprit_takes_logarithmically_many_tests(count: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, count - 1))
    tests: list[Sequence[int]] = []

    def fails(items: Sequence[int]) -> bool:
        tests.append(items)
        return culprit in items

    assert ddmin(range(count), fails) == [culprit]
    assert len(tests) <= 2 * math.ceil(math.log2(count))


@given(st.integers(2, 30), st.data())
def test_no_set_is_asked_for_twice_and_the_ends_not_at_all(count: int, data: st.DataObject) -> None:
    groups = data.draw(
        st.lists(st.sets(st.integers(0, count - 1), min_size=1, max_size=4), min_size=1, max_size=3)
    )
    asked: list[tuple[int, ...]] = []

    def fails(items: Sequence[int]) -> bool:
        asked.append(tuple(items))
        return needing(*groups)(items)

    found = ddmin(range(count), fails)
    assert set(found) in groups
    assert len(asked) == len(set(asked)) <= count**2 + 3 * count
    assert () not in asked and tuple(range(count)) not in asked
