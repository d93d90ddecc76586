"""What a commit did to the slots: the difference of two edit sets, as rows of the index."""

from __future__ import annotations

from editvc.core.history import Commit
from editvc.core.ids import ObjectId
from editvc.vcs import codec
from editvc.vcs.edit_set import EditSet
from editvc.vcs.index_rows import ChangeRow
from editvc.vcs.store import ObjectStore


def changes_of(store: ObjectStore, identifier: ObjectId, commit: Commit) -> list[ChangeRow]:
    """The slots that a commit changed against its first parent, in slot order.

    Reads the two trees and the nodes that they do not share. Raises the store's errors.
    """
    before = EditSet(store)
    if commit.parents:
        before = _edits(store, codec.decode_commit(store.get(commit.parents[0])))
    diff = before.diff(_edits(store, commit))
    rows = [
        *(ChangeRow(identifier, entry.slot, None, entry.fact) for entry in diff.added),
        *(ChangeRow(identifier, entry.slot, entry.fact, None) for entry in diff.removed),
        *(ChangeRow(identifier, old.slot, old.fact, new.fact) for old, new in diff.changed),
    ]
    return sorted(rows, key=lambda row: row.slot)


def _edits(store: ObjectStore, commit: Commit) -> EditSet:
    return EditSet(store, codec.decode_tree(store.get(commit.tree)).edits)
