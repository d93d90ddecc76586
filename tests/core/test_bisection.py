"""Binary search over graphs: the planted culprit is found, in as few tests as promised."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.bisection import Verdict, first_bad

Graph = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Commits 0, 1, ...: each but the first has a parent before it, a merge more than one."""
    count = draw(st.integers(1, 40))
    return {
        node: sorted(draw(st.sets(st.integers(max(0, node - 6), node - 1), min_size=1, max_size=3)))
        if node
        else []
        for node in range(count)
    }


def reached(graph: Graph, start: int) -> set[int]:
    found, waiting = set[int](), [start]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(graph[node])
    return found


@given(graphs(), st.data())
def test_a_planted_culprit_is_found_in_any_graph(graph: Graph, data: st.DataObject) -> None:
    last = max(graph)
    culprit = data.draw(st.sampled_from(sorted(reached(graph, last))))
    asked: list[int] = []

    def test(node: int) -> Verdict:
        asked.append(node)
        return Verdict.BAD if culprit in reached(graph, node) else Verdict.GOOD

    found = first_bad(graph, last, test)
    assert (found.node, found.untold) == (culprit, ())
    assert len(asked) == len(set(asked)) and last not in asked


@given(st.integers(1, 5000), st.data())
def test_a_line_takes_no_more_tests_than_its_logarithm(count: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, count - 1))
    line = {node: [node - 1] if node else [] for node in range(count)}
    tests: list[int] = []

    def test(node: int) -> Verdict:
        tests.append(node)
        return Verdict.BAD if node >= culprit else Verdict.GOOD

    assert first_bad(line, count - 1, test).node == culprit
    assert len(tests) <= math.ceil(math.log2(count))


@given(graphs(), st.data())
def test_what_cannot_be_told_is_named_where_it_may_be_the_first(
    graph: Graph, data: st.DataObject
) -> None:
    last = max(graph)
    culprit = data.draw(st.sampled_from(sorted(reached(graph, last))))
    dark = data.draw(st.sets(st.sampled_from(sorted(graph))))

    def test(node: int) -> Verdict:
        if node in dark:
            return Verdict.SKIP
        return Verdict.BAD if culprit in reached(graph, node) else Verdict.GOOD

    found = first_bad(graph, last, test)
    assert culprit in {found.node, *found.untold}
    assert {*found.untold} <= dark
    if not dark:
        assert found.node == culprit


def test_parents_that_are_no_suspects_are_good() -> None:
    asked: list[str] = []

    def test(node: str) -> Verdict:
        asked.append(node)
        return Verdict.GOOD

    assert first_bad({"c": ["b"], "b": ["a"]}, "c", test).node == "c"
    assert asked == ["b"]


@pytest.mark.parametrize(("count", "expected"), [(1, []), (2, [1]), (8, [3, 2, 1])])
def test_how_many_tests_are_to_come_is_told(count: int, expected: list[int]) -> None:
    line = {node: [node - 1] if node else [] for node in range(count)}
    told: list[int] = []
    first_bad(line, count - 1, lambda node: Verdict.BAD, told.append)
    assert told == expected
