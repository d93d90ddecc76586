"""The live facts of a revision, each with the commit that brought it."""

from __future__ import annotations

from editvc.core.history import Entry
from editvc.core.ids import ObjectId, SlotId
from editvc.session.session import Session


def blame(session: Session, revision: str) -> dict[SlotId, tuple[Entry, ObjectId]]:
    """Every live slot with its entry and the commit that set it, along first parents.

    A fact that a squash located again counts as brought by the squash.
    """
    plumbing = session.repository
    head = plumbing.revisions.resolve(revision)
    if head is None:
        return {}
    origins: dict[SlotId, tuple[Entry, ObjectId]] = {}
    before = plumbing.edits_of(plumbing.tree_of(None))
    for row in reversed(list(plumbing.graph.first_parents(head))):
        after = plumbing.edits_of(plumbing.read_tree(row.tree))
        diff = before.diff(after)
        for entry in diff.removed:
            del origins[entry.slot]
        for entry in [*diff.added, *(new for _, new in diff.changed)]:
            origins[entry.slot] = (entry, row.id)
        before = after
    return dict(sorted(origins.items()))
