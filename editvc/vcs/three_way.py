"""Merges of trees: what two sides made of a common base, slot by slot.

A tree is a set, so a merge is one: each side's changes against the base, together. What both sides
changed, and not alike, is a conflict and is decided by nobody here. One fact that both sides made
numeric in one way is alike: its numbers differ by rounding at most, and the element with the
smaller id holds. On sets without conflicts a merge is commutative, associative and idempotent; from
an empty base it is the union.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.vcs.codec import metadata
from editvc.vcs.edit_set import EditSet
from editvc.vcs.graph import Graph
from editvc.vcs.store import ObjectStore

T = TypeVar("T", covariant=True)

SIDES = ("base", "ours", "theirs")

ORIGINS = ("request", "batch", "made_of")
"""Of these an element has one; with base and recipe its numbers follow from it, up to rounding."""


@dataclass(frozen=True, slots=True)
class Sides(Generic[T]):
    """What the base and the two sides have in one place; ``None`` is nothing."""

    base: T | None
    ours: T | None
    theirs: T | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge: what ours becomes, and where the sides disagree.

    ``changes`` are the slots of ours to set or to empty, ``patches`` and ``restraint`` those of the
    result. Where there is a conflict, the result keeps what ours has.
    """

    changes: Mapping[SlotId, Entry | None]
    patches: tuple[ObjectId, ...]
    restraint: Restraint | None
    conflicts: Mapping[SlotId, Sides[Entry]] = field(default_factory=dict)
    restraints: Sides[Restraint] | None = None

    @property
    def conflicting(self) -> bool:
        """Whether anything is left to decide."""
        return bool(self.conflicts) or self.restraints is not None

    def favouring(self, side: Literal["ours", "theirs"]) -> Merged:
        """The same with every conflict decided for one side."""
        decided = {slot: getattr(one, side) for slot, one in self.conflicts.items()}
        restraint = self.restraint if self.restraints is None else getattr(self.restraints, side)
        return Merged({**self.changes, **decided}, self.patches, restraint)


@dataclass(frozen=True, slots=True)
class Base:
    """What two sides have in common.

    Where several best common ancestors disagree among themselves, in ``undecided`` slots or in the
    restraint, no side counts as the unchanged one.
    """

    tree: Tree
    undecided: frozenset[SlotId] = frozenset()
    undecided_restraint: bool = False


def merged(store: ObjectStore, base: Base, ours: Tree, theirs: Tree) -> Merged:
    """What both sides made of the base; opens only the nodes in which they differ from it."""
    common = EditSet(store, base.tree.edits)
    ours_now, theirs_now = EditSet(store, ours.edits), EditSet(store, theirs.edits)
    touched = {*_touched(common, ours_now), *_touched(common, theirs_now), *base.undecided}
    changes: dict[SlotId, Entry | None] = {}
    conflicts: dict[SlotId, Sides[Entry]] = {}
    for slot in sorted(touched):
        sides = Sides(common.get(slot), ours_now.get(slot), theirs_now.get(slot))
        agreed, entry = _entry(store, sides, slot in base.undecided)
        if not agreed:
            conflicts[slot] = sides
        elif entry != sides.ours:
            changes[slot] = entry
    restraints = Sides(base.tree.restraint, ours.restraint, theirs.restraint)
    agreed, restraint = _decided(restraints, base.undecided_restraint)
    return Merged(
        changes,
        _patches(base.tree.patches, ours.patches, theirs.patches),
        restraint if agreed else ours.restraint,
        conflicts,
        None if agreed else restraints,
    )


def applied(store: ObjectStore, ours: Tree, merge: Merged) -> Tree:
    """The tree of a merge; its nodes are written to ``store``."""
    edits = EditSet(store, ours.edits).update(merge.changes)
    return replace(ours, edits=edits.root, patches=merge.patches, restraint=merge.restraint)


def base_of(
    store: ObjectStore,
    graph: Graph,
    tree_of: Callable[[ObjectId | None], Tree],
    ours: Sequence[ObjectId],
    theirs: ObjectId,
) -> Base:
    """The base of a merge of ``theirs`` into what ``ours``, several commits, make together.

    Several best common ancestors are merged themselves, as git's recursive strategy does; without
    any it is the tree without edits. ``store`` takes the nodes of that: give it an
    ``ScratchStore``.
    """
    bases = sorted(graph.merge_bases(ours, [theirs]))
    if not bases:
        return Base(tree_of(None))
    found = Base(tree_of(bases[0]))
    for number, other in enumerate(bases[1:], 1):
        deeper = base_of(store, graph, tree_of, bases[:number], other)
        merge = merged(store, deeper, found.tree, tree_of(other))
        found = Base(
            applied(store, found.tree, merge),
            found.undecided | frozenset(merge.conflicts),
            found.undecided_restraint or merge.restraints is not None,
        )
    return found


def _touched(before: EditSet, after: EditSet) -> Iterator[SlotId]:
    diff = before.diff(after)
    yield from (entry.slot for entry in (*diff.added, *diff.removed))
    yield from (old.slot for old, _ in diff.changed)


def _entry(store: ObjectStore, sides: Sides[Entry], undecided: bool) -> tuple[bool, Entry | None]:
    """Whether a slot is agreed on, and what it holds then.

    A side that only located the fact of the base again says nothing new of it, and gives way to
    one that replaced the fact or took it out.
    """
    agreed, entry = _decided(sides, undecided)
    if agreed:
        return True, entry
    fact, ours, theirs = (_fact(one) for one in (sides.base, sides.ours, sides.theirs))
    if ours == theirs and sides.ours is not None and sides.theirs is not None:
        same = _made_alike(store, sides.ours.element, sides.theirs.element)
        return (True, min(sides.ours, sides.theirs)) if same else (False, None)
    if undecided or (ours == fact) == (theirs == fact):
        return False, None
    return True, sides.theirs if ours == fact else sides.ours


def _made_alike(store: ObjectStore, one: ObjectId, other: ObjectId) -> bool:
    """Whether two elements of one fact differ by rounding at most.

    Those of a sequence follow from the weights that each was made on, too: these belong together,
    and are not mixed with those of another sequence.
    """
    ours, theirs = (metadata(store.get(element)) for element in (one, other))
    if "anchor" in ours or not any(ours.get(key) for key in ORIGINS):
        return False
    return all(ours.get(key) == theirs.get(key) for key in ("base", "recipe", *ORIGINS, "anchor"))


def _decided(sides: Sides[T], undecided: bool) -> tuple[bool, T | None]:
    if sides.ours == sides.theirs or (sides.theirs == sides.base and not undecided):
        return True, sides.ours
    return (True, sides.theirs) if sides.ours == sides.base and not undecided else (False, None)


def _fact(entry: Entry | None) -> ObjectId | None:
    return entry.fact if entry is not None else None


def _patches(
    base: Sequence[ObjectId], ours: Sequence[ObjectId], theirs: Sequence[ObjectId]
) -> tuple[ObjectId, ...]:
    """Elements of a set that are there or not: what either side took out goes, the rest stays."""
    common, one, other = set(base), set(ours), set(theirs)
    return tuple(sorted((one | other) - (common - one) - (common - other)))
