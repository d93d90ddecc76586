"""The set of live edits as a Merkle trie: equal sets have equal ids, whatever the history.

A node with at most ``LEAF`` entries is a leaf; a fuller one splits by the next hex digit of the
slot. So the shape, and with it the root's id, follows from the set alone, a small change writes
the few nodes on its way down, and two versions are compared by skipping what has one id in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from editvc.core.history import Entry
from editvc.core.ids import ObjectId, SlotId, object_id, short
from editvc.errors import DamageError
from editvc.vcs.codec import Branch, Leaf, Node, decode_node, encode
from editvc.vcs.store import ObjectStore

LEAF = 32
"""Most entries of a leaf. Part of the format: another number gives other ids."""

SLOT_DIGITS = 64
"""Hex digits of a slot: a set is never deeper."""

ELSEWHERE = "holds slots that belong elsewhere"

Change = tuple[SlotId, Entry | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A child that is in the store already."""

    id: ObjectId
    count: int


@dataclass(frozen=True, slots=True)
class Split:
    """A branch in the making: its children may not be written yet."""

    children: tuple[tuple[str, Stored | Leaf | Split], ...]

    @property
    def count(self) -> int:
        """How many entries stand below."""
        return sum(child.count for _, child in self.children)


Draft = Stored | Leaf | Split


class EditDiff(NamedTuple):
    """What lies between two edit sets, each part in slot order; ``changed`` is (old, new)."""

    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]


class EditSet:
    """An immutable mapping slot -> :class:`Entry`, kept in ``store`` under ``root``.

    The empty set has ``root`` ``None``. ``nodes`` are those that were read, by id; sets that are
    looked at together, as versions are that share nodes, have them together.
    """

    def __init__(
        self,
        store: ObjectStore,
        root: ObjectId | None = None,
        nodes: dict[ObjectId, Node] | None = None,
    ) -> None:
        self.store = store
        self.root = root
        self.nodes = {} if nodes is None else nodes

    def _node(self, identifier: ObjectId, path: str = "") -> Node:
        """The node under the digits ``path``, where all below it has slots that begin so.

        Raises :class:`NotCanonical` for any other: a few nodes that name each other many times
        would be a set without end.
        """
        node = self.nodes.get(identifier)
        if node is None:
            node = self.nodes[identifier] = decode_node(self.store.get(identifier))
        if isinstance(node, Branch):
            sound = len(node.children) > 0 and len(path) < SLOT_DIGITS
        else:
            sound = len(node.entries) > 0 and all(e.slot.startswith(path) for e in node.entries)
        if not sound:
            raise NotCanonical(identifier, ELSEWHERE)
        return node

    def __len__(self) -> int:
        return 0 if self.root is None else self._node(self.root).count

    def __contains__(self, slot: SlotId) -> bool:
        return self.get(slot) is not None

    def get(self, slot: SlotId) -> Entry | None:
        """The entry of a slot, reading only the nodes on its way."""
        identifier, depth = self.root, 0
        while identifier is not None:
            node = self._node(identifier, slot[:depth])
            if isinstance(node, Leaf):
                return next((entry for entry in node.entries if entry.slot == slot), None)
            children = {digit: child for digit, child, _ in node.children}
            identifier, depth = children.get(slot[depth]), depth + 1
        return None

    def entries(self) -> Iterator[Entry]:
        """All entries in slot order."""
        return iter(()) if self.root is None else self._below(self.root)

    def items(self) -> Iterator[tuple[SlotId, Entry]]:
        """All (slot, entry) pairs in slot order."""
        return ((entry.slot, entry) for entry in self.entries())

    def _below(self, identifier: ObjectId, path: str = "") -> Iterator[Entry]:
        node = self._node(identifier, path)
        if isinstance(node, Leaf):
            yield from node.entries
        else:
            for digit, child, _ in node.children:
                yield from self._below(child, path + digit)

    def update(self, changes: Mapping[SlotId, Entry | None]) -> EditSet:
        """The set after ``changes`` (``None`` takes a slot out); writes only touched nodes.

        Taking out a slot that is not there changes nothing.
        """
        for slot, entry in changes.items():
            if entry is not None and entry.slot != slot:
                raise ValueError(f"entry of slot {entry.slot} given under {slot}")
        if not changes:
            return self
        draft = self._changed(self.root, 0, sorted(changes.items(), key=lambda change: change[0]))
        if draft is None:
            return EditSet(self.store, None, self.nodes)
        written: list[bytes] = []
        root = self._encoded(draft, written)
        self.store.put_all(written)
        return EditSet(self.store, root, self.nodes)

    def _changed(self, old: ObjectId | None, depth: int, changes: list[Change]) -> Draft | None:
        path = changes[0][0][:depth]
        node = self._node(old, path) if old is not None else None
        if not isinstance(node, Branch):
            merged = {entry.slot: entry for entry in node.entries} if node else {}
            for slot, entry in changes:
                if entry is None:
                    merged.pop(slot, None)
                else:
                    merged[slot] = entry
            return drafted([merged[slot] for slot in sorted(merged)], depth)
        ids = {digit: child for digit, child, _ in node.children}
        children: dict[str, Draft] = {
            digit: Stored(child, count) for digit, child, count in node.children
        }
        for digit, part in grouped(changes, depth):
            children.pop(digit, None)
            child = self._changed(ids.get(digit), depth + 1, part)
            if child is not None:
                children[digit] = child
        split = Split(tuple(sorted(children.items(), key=lambda item: item[0])))
        if split.count > LEAF:
            return split
        return Leaf(tuple(self._gathered(split, path))) if split.count else None

    def _gathered(self, draft: Draft, path: str) -> Iterator[Entry]:
        if isinstance(draft, Stored):
            yield from self._below(draft.id, path)
        elif isinstance(draft, Leaf):
            yield from draft.entries
        else:
            for digit, child in draft.children:
                yield from self._gathered(child, path + digit)

    def _encoded(self, draft: Draft, written: list[bytes]) -> ObjectId:
        """Append the bytes of all nodes of a draft that are not stored yet; the id of its root."""
        if isinstance(draft, Stored):
            return draft.id
        node: Node
        if isinstance(draft, Leaf):
            node = draft
        else:
            children = draft.children
            node = Branch(tuple((d, self._encoded(one, written), one.count) for d, one in children))
        written.append(encode(node))
        return object_id(written[-1])

    def diff(self, other: EditSet) -> EditDiff:
        """What leads from this set to ``other``; subtrees with equal ids are not opened."""
        old: dict[SlotId, Entry] = {}
        new: dict[SlotId, Entry] = {}
        self._differing(self.root, other.root, other, old, new)
        return EditDiff(
            added=tuple(new[slot] for slot in sorted(new.keys() - old.keys())),
            removed=tuple(old[slot] for slot in sorted(old.keys() - new.keys())),
            changed=tuple(
                (old[slot], new[slot])
                for slot in sorted(old.keys() & new.keys())
                if old[slot] != new[slot]
            ),
        )

    def _differing(
        self,
        root: ObjectId | None,
        other_root: ObjectId | None,
        other: EditSet,
        old: dict[SlotId, Entry],
        new: dict[SlotId, Entry],
        path: str = "",
    ) -> None:
        """Collect into ``old`` and ``new`` the entries of all subtrees whose ids differ."""
        if root == other_root:
            return
        node = self._node(root, path) if root is not None else Leaf(())
        other_node = other._node(other_root, path) if other_root is not None else Leaf(())
        if isinstance(node, Branch) and isinstance(other_node, Branch):
            left = {digit: child for digit, child, _ in node.children}
            right = {digit: child for digit, child, _ in other_node.children}
            for digit in sorted(left.keys() | right.keys()):
                below = path + digit
                self._differing(left.get(digit), right.get(digit), other, old, new, below)
            return
        if root is not None:
            old.update((entry.slot, entry) for entry in self._below(root, path))
        if other_root is not None:
            new.update((entry.slot, entry) for entry in other._below(other_root, path))


def drafted(entries: list[Entry], depth: int) -> Draft | None:
    """The canonical subtree of ``entries`` (in slot order), whose first ``depth`` digits agree."""
    if not entries:
        return None
    if len(entries) <= LEAF:
        return Leaf(tuple(entries))
    children = []
    for digit, part in grouped([(entry.slot, entry) for entry in entries], depth):
        child = drafted([entry for _, entry in part if entry is not None], depth + 1)
        if child is not None:
            children.append((digit, child))
    return Split(tuple(children))


def grouped(changes: Iterable[Change], depth: int) -> list[tuple[str, list[Change]]]:
    """``changes`` by their slot's hex digit at ``depth``, in digit order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change[0][depth], []).append(change)
    return sorted(groups.items(), key=lambda group: group[0])


class NotCanonical(DamageError):
    """A stored edit set whose shape does not follow from its entries. ``id`` is the node's."""

    def __init__(self, identifier: ObjectId, problem: str) -> None:
        super().__init__(
            f"node {short(identifier)} of the edit set {problem}",
            hint="It was not written by editvc; restore the repository from a copy.",
        )
        self.id = identifier


@dataclass(frozen=True, slots=True)
class Extent:
    """What stands below a node: how many entries, and the slots at both ends."""

    count: int
    first: SlotId
    last: SlotId


def verify(
    store: ObjectStore,
    node: ObjectId,
    known: dict[tuple[ObjectId, int], Extent],
    depth: int = 0,
) -> Extent:
    """Check that a stored set is exactly as :meth:`EditSet.update` would have written it.

    ``known`` keeps what has been checked, by node and depth, so that versions which share nodes
    cost little. Raises :class:`NotCanonical`, and the store's errors.
    """
    if depth > SLOT_DIGITS:
        raise NotCanonical(node, ELSEWHERE)
    if (node, depth) not in known:
        stored = decode_node(store.get(node))
        if isinstance(stored, Leaf):
            slots = [entry.slot for entry in stored.entries]
            if slots != sorted(set(slots)) or not 0 < len(slots) <= LEAF:
                raise NotCanonical(node, "is not 1 to 32 entries in slot order")
            extent = Extent(len(slots), slots[0], slots[-1])
        else:
            extent = _verified_branch(store, node, stored, known, depth)
        if extent.first[:depth] != extent.last[:depth]:
            raise NotCanonical(node, ELSEWHERE)
        known[node, depth] = extent
    return known[node, depth]


def _verified_branch(
    store: ObjectStore,
    node: ObjectId,
    branch: Branch,
    known: dict[tuple[ObjectId, int], Extent],
    depth: int,
) -> Extent:
    extents = []
    for digit, child, count in branch.children:
        extent = verify(store, child, known, depth + 1)
        if extent.count != count:
            raise NotCanonical(node, f"says {count} where {extent.count} entries are")
        if extent.first[depth] != digit:
            raise NotCanonical(node, ELSEWHERE)
        extents.append(extent)
    if branch.count <= LEAF:
        raise NotCanonical(node, "splits what fits into one leaf")
    return Extent(branch.count, extents[0].first, extents[-1].last)
