from __future__ import annotations

from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from editvc.core.ids import ObjectId
from editvc.vcs.graph import Graph
from editvc.vcs.index_rows import CommitRow


class Rows:
    """Stands where the index does: the rows of a drawn graph."""

    def __init__(self, rows: dict[ObjectId, CommitRow]) -> None:
        self.rows = rows
        self.read = 0

    def commit(self, identifier: ObjectId) -> CommitRow | None:
        self.read += 1
        return self.rows.get(identifier)


def key(number: int) -> ObjectId:
    return ObjectId(f"{number:064x}")


def commit_row(
    identifier: ObjectId, number: int, parents: tuple[ObjectId, ...], time: int | None = None
) -> CommitRow:
    return CommitRow(
        id=identifier, number=number, tree=key(0), parents=parents, message="", author="",
        time=number if time is None else time, edits=0, live=0, delta=None, health=(),
    )  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> dict[ObjectId, CommitRow]:
    """Up to 15 commits with up to 3 earlier parents each, and clocks that may go wrong."""
    rows = {}
    for number in range(draw(st.integers(1, 15))):
        earlier = st.integers(0, number - 1).map(key) if number else st.nothing()
        parents = draw(st.lists(earlier, max_size=3 if number else 0, unique=True))
        time = draw(st.integers(0, 5))
        rows[key(number)] = commit_row(key(number), number, tuple(parents), time)
    return rows


def ancestors(rows: dict[ObjectId, CommitRow], start: ObjectId) -> set[ObjectId]:
    """The specification, written plainly."""
    found = {start}
    for parent in rows[start].parents:
        found |= ancestors(rows, parent)
    return found


@given(graphs(), st.data())
@settings(max_examples=150)
def test_the_newest_come_as_log_has_them(
    rows: dict[ObjectId, CommitRow], data: st.DataObject
) -> None:
    graph = Graph(Rows(rows))  # type: ignore[arg-type]
    starts = data.draw(st.lists(st.sampled_from(sorted(rows)), max_size=3, unique=True))
    assert list(graph.newest(starts)) == graph.log(starts)


def test_of_a_long_history_the_newest_alone_are_read() -> None:
    """A chain of 5,000 commits, every tenth of which merges a side line of one."""
    rows = {}
    for number in range(5000):
        parents = [key(number - 1)] if number else []
        if number and number % 10 == 0:
            side = key(10_000 + number)
            rows[side] = commit_row(side, number - 1, (key(number - 2),))
            parents.append(side)
        rows[key(number)] = commit_row(key(number), number, tuple(parents))
    index = Rows(rows)
    newest = list(islice(Graph(index).newest([key(4999)]), 40))  # type: ignore[arg-type]
    read = index.read
    assert newest == Graph(index).log([key(4999)])[:40]  # type: ignore[arg-type]
    assert read < 60


@given(graphs(), st.data())
@settings(max_examples=100)
def test_log_holds_each_commit_once_and_no_parent_before_its_child(
    rows: dict[ObjectId, CommitRow], data: st.DataObject
) -> None:
    graph = Graph(Rows(rows))  # type: ignore[arg-type]
    start = data.draw(st.sampled_from(sorted(rows)))
    hidden = data.draw(st.none() | st.sampled_from(sorted(rows)))
    found = [row.id for row in graph.log([start], [hidden] if hidden else [])]
    expected = ancestors(rows, start) - (ancestors(rows, hidden) if hidden else set())
    assert sorted(found) == sorted(expected)
    place = {identifier: position for position, identifier in enumerate(found)}
    for identifier in found:
        for parent in rows[identifier].parents:
            assert parent not in place or place[parent] > place[identifier]


@given(graphs())
@settings(max_examples=30)
def test_ancestry(rows: dict[ObjectId, CommitRow]) -> None:
    graph = Graph(Rows(rows))  # type: ignore[arg-type]
    tip = max(rows)
    assert set(graph.reachable([tip])) == ancestors(rows, tip)
    for other in rows:
        assert graph.is_ancestor(other, tip) == (other in ancestors(rows, tip))
    line = [row.id for row in graph.first_parents(tip)]
    assert line[0] == tip and not rows[line[-1]].parents
    assert all(rows[a].parents[0] == b for a, b in pairwise(line))


def test_without_branching_the_newest_stands_first_even_with_wrong_clocks() -> None:
    rows = {
        key(n): CommitRow(
            id=key(n), number=n, tree=key(0), parents=(key(n - 1),) if n > 1 else (), message="",
            author="", time=100 - n, edits=0, live=0, delta=None, health=(),
        )
        for n in (1, 2, 3)
    }  # fmt: skip
    found = Graph(Rows(rows)).log([key(3)])  # type: ignore[arg-type]
    assert [row.number for row in found] == [3, 2, 1]
