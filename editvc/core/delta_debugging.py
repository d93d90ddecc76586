"""The smallest set of changes that still fails: delta debugging.

``ddmin`` of Zeller and Hildebrandt 2002, Simplifying and Isolating Failure-Inducing Input, IEEE
Transactions on Software Engineering 28(2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")


def ddmin(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """Items, in their order, that fail together, and of which none can be left out.

    All of ``items`` together fail, and none of them does not: ``fails`` is not asked for these two.
    It is asked for no set twice. The result is 1-minimal: it fails, and with any one of it left out
    it does not; where a failure needs one item alone, it is found in at most ``2 ceil(log2 n)``
    tests. Of n items, at most about ``n^2`` are tested.
    """
    known: dict[tuple[int, ...], bool] = {tuple(range(len(items))): True, (): False}

    def failing(places: Sequence[int]) -> bool:
        key = tuple(places)
        if key not in known:
            known[key] = fails([items[place] for place in key])
        return known[key]

    kept, parts = list(range(len(items))), 2
    while len(kept) > 1:
        chunks = _split(kept, parts)
        part = next((chunk for chunk in chunks if failing(chunk)), None)
        if part is not None:
            kept, parts = part, 2
            continue
        rests = ([place for place in kept if place not in chunk] for chunk in chunks)
        rest = next((rest for rest in rests if failing(rest)), None)
        if rest is not None:
            kept, parts = rest, max(parts - 1, 2)
        elif parts < len(kept):
            parts = min(len(kept), 2 * parts)
        else:
            break
    return [items[place] for place in kept]


def _split(places: Sequence[int], parts: int) -> list[list[int]]:
    """Places in so many runs of nearly one length, none of them empty."""
    count = min(parts, len(places))
    ends = [len(places) * number // count for number in range(count + 1)]
    return [list(places[start:end]) for start, end in pairwise(ends)]
