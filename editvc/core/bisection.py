"""Where something went wrong: binary search over a graph of versions, as ``git bisect`` has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Node = TypeVar("Node")


class Verdict(Enum):
    """What a test says of one version. ``SKIP``: it cannot be told."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class FirstBad(Generic[Node]):
    """The oldest version that is known to be bad.

    ``untold`` are those before it that could not be told, any of which may be the first instead.
    """

    node: Node
    untold: tuple[Node, ...]


def first_bad(
    parents: Mapping[Node, Sequence[Node]],
    bad: Node,
    test: Callable[[Node], Verdict],
    expect: Callable[[int], None] = lambda tests: None,
) -> FirstBad[Node]:
    """The first bad node of an acyclic graph: one that is bad while all of its parents are good.

    ``parents`` has every suspect, that is every node that ``bad`` reaches and that no good one
    does; parents that are not among its keys are good. Each test halves what is left as nearly as
    the graph allows: a line of n takes at most ``ceil(log2 n)``. ``expect`` hears before each
    about how many are to come.
    """
    suspects, skipped = _within(parents, bad), set[Node]()
    while len(suspects) > 1:
        reach = _reach(suspects)
        untested = [node for node in suspects if node != bad and node not in skipped]
        if not untested:
            break
        middle = max(untested, key=lambda node: min(reach[node], len(suspects) - reach[node]))
        expect((len(suspects) - 1).bit_length())
        verdict = test(middle)
        if verdict is Verdict.GOOD:
            gone = _within(suspects, middle)
            suspects = {node: found for node, found in suspects.items() if node not in gone}
        elif verdict is Verdict.BAD:
            bad, suspects = middle, _within(suspects, middle)
        else:
            skipped.add(middle)
    return FirstBad(bad, tuple(node for node in suspects if node != bad))


def _within(graph: Mapping[Node, Sequence[Node]], start: Node) -> dict[Node, Sequence[Node]]:
    """The part of a graph that a node reaches, in an order in which parents come first."""
    return {node: graph[node] for node in _parents_first(graph, start)}


def _parents_first(graph: Mapping[Node, Sequence[Node]], start: Node) -> Iterator[Node]:
    done, waiting = set[Node](), [(start, False)]
    while waiting:
        node, ready = waiting.pop()
        if node not in graph or node in done:
            continue
        if ready:
            done.add(node)
            yield node
        else:
            waiting.append((node, True))
            waiting.extend((parent, False) for parent in graph[node])


def _reach(suspects: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """How many suspects each reaches, itself included; ``suspects`` has parents first.

    On a line that is one more than its parent's, and only a merge has to be counted.
    """
    reach: dict[Node, int] = {}
    for node, parents in suspects.items():
        inside = [parent for parent in parents if parent in suspects]
        if len(inside) > 1:
            reach[node] = len(_within(suspects, node))
        else:
            reach[node] = 1 + sum(reach[parent] for parent in inside)
    return reach
