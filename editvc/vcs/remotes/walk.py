"""The walk from commits to all that they stand on, short of what the other side has.

It is the same for what is sent and for what has come: objects are decoded, links are of the kinds
that they should be, and nothing may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from editvc.core.ids import ObjectId, short
from editvc.errors import DamageError
from editvc.vcs import codec, edit_set
from editvc.vcs.fsck import DECODERS
from editvc.vcs.object_links import ELEMENT, Link, checked_links, fits
from editvc.vcs.store import ObjectStore

PRIVATE = ("operation",)
"""Kinds of objects that belong to one repository alone."""


class NotSound(DamageError):
    """An object that is not what it should be, where history leads to it."""


@dataclass(frozen=True, slots=True)
class News:
    """What one side has and the other has not: ``commits``, each behind its parents, and the
    commits of both sides on which they stand.
    """

    commits: tuple[ObjectId, ...]
    boundary: frozenset[ObjectId]


def news(store: ObjectStore, wanted: Iterable[ObjectId], has: Callable[[ObjectId], bool]) -> News:
    """The commits that lead to ``wanted`` from those that the other side ``has``.

    Raises ``ObjectDamaged`` for what is missing or no commit.
    """
    boundary, order, done = set[ObjectId](), list[ObjectId](), set[ObjectId]()
    waiting = [(one, False) for one in wanted]
    while waiting:
        identifier, parents_are_done = waiting.pop()
        if parents_are_done:
            order.append(identifier)
        elif has(identifier):
            boundary.add(identifier)
        elif identifier not in done:
            done.add(identifier)
            waiting.append((identifier, True))
            parents = codec.decode_commit(store.get(identifier)).parents
            waiting += ((parent, False) for parent in parents)
    return News(tuple(order), frozenset(boundary))


def known_behind(store: ObjectStore, commits: Iterable[ObjectId]) -> dict[ObjectId, str]:
    """The kinds of the objects that some commits and their trees name, of which nothing is read
    that does not name others: whoever has a commit has these, and all that they need.
    """
    known: dict[ObjectId, str] = {}
    for identifier in commits:
        commit = codec.decode_commit(store.get(identifier))
        tree = codec.decode_tree(store.get(commit.tree))
        known |= {identifier: "commit", commit.tree: "tree", tree.base: "base"}
        known |= dict.fromkeys(tree.patches, "patch") | dict.fromkeys(tree.groups, ELEMENT)
        waiting = [tree.edits] if tree.edits else []
        while waiting:
            node = waiting.pop()
            if node in known:
                continue
            known[node] = "edits"
            for kind, other in checked_links(codec.record_of(store.get(node))):
                if kind == "edits":
                    waiting.append(other)
                else:
                    known[other] = kind
    return known


def common_behind(store: ObjectStore, known: Mapping[ObjectId, str]) -> dict[ObjectId, str]:
    """The kinds of what the elements among ``known`` stand on, recipes and statistics; reads each.

    Raises as :func:`objects_behind`.
    """
    elements = (one for one, kind in known.items() if kind in (ELEMENT, "patch"))
    named = {link for one in elements for link in checked_links(codec.record_of(store.get(one)))}
    return {one.id: one.kind for one in objects_behind(store, named, {})}


class Reached(NamedTuple):
    """An object that the walk has come to."""

    id: ObjectId
    kind: str
    data: bytes


def objects_behind(
    store: ObjectStore, wanted: Iterable[Link], known: Mapping[ObjectId, str]
) -> Iterator[Reached]:
    """The objects that links lead to, short of those ``known`` by their kinds: each once.

    Raises ``ObjectDamaged`` for what is missing or cannot be read, and :class:`NotSound`.
    """
    kinds: dict[ObjectId, str] = {}
    waiting = list(wanted)
    while waiting:
        expected, identifier = waiting.pop()
        if known.get(identifier) == expected:
            continue
        if identifier not in kinds:
            data = store.get(identifier)
            record = sound(identifier, data)
            kinds[identifier] = str(record["kind"])
            waiting += checked_links(record)
            yield Reached(identifier, kinds[identifier], data)
        if not fits(expected, kinds[identifier]):
            problem = f"is a {kinds[identifier]} where a {expected} is needed"
            raise NotSound(f"object {short(identifier)} {problem}")


def sound(identifier: ObjectId, data: bytes) -> dict[str, Any]:
    """What an object says about itself, if it is one that may go from repository to repository.

    Raises ``ObjectDamaged`` and :class:`NotSound`.
    """
    record = codec.record_of(data)
    kind = str(record["kind"])
    if kind in PRIVATE:
        raise NotSound(f"object {short(identifier)} is of the kind {kind}, which no one sends")
    if kind in DECODERS:
        DECODERS[kind](data)
    try:
        checked_links(record)
    except ValueError as cause:
        raise NotSound(f"object {short(identifier)} {cause}") from cause
    return record


def require_history(store: ObjectStore, commits: Iterable[ObjectId]) -> None:
    """Each commit counts right, and its set of edits has the one shape that it can have.

    Raises :class:`NotSound` and ``NotCanonical``.
    """
    extents: dict[tuple[ObjectId, int], edit_set.Extent] = {}
    for identifier in commits:
        commit = codec.decode_commit(store.get(identifier))
        before = 0
        if commit.parents:
            before = codec.decode_commit(store.get(commit.parents[0])).number
        root = codec.decode_tree(store.get(commit.tree)).edits
        live = edit_set.verify(store, root, extents).count if root else 0
        if (commit.number, commit.live) != (before + 1, live):
            raise NotSound(f"commit {short(identifier)} does not count right")
