"""Merges of trees in a repository: what may be merged, and what a merge or a replay would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, SlotId, short
from editvc.core.methods.locate import LocatedRecipe
from editvc.errors import EditvcError
from editvc.porcelain.conflicts import Conflict
from editvc.session.changes import FactChanges, fact_changes_of
from editvc.session.session import Session
from editvc.vcs import codec
from editvc.vcs.edit_set import EditSet
from editvc.vcs.store import ObjectStore
from editvc.vcs.three_way import Base, Merged, base_of, merged


class OtherBase(EditvcError):
    """Trees over two base models: numbers made on one mean nothing on the other."""

    def __init__(self, ours: Tree, theirs: Tree) -> None:
        super().__init__(
            f"the sides edit two base models, {short(ours.base)} and {short(theirs.base)}",
            hint="`editvc rebase --onto-base MODEL` carries a branch over to the base of another.",
        )


class OtherStatistics(EditvcError):
    """Located edits of two second moments: each side's were weighed against another one's."""

    def __init__(self, ours: set[ObjectId], theirs: set[ObjectId]) -> None:
        one, other = (", ".join(map(short, sorted(side))) for side in (ours, theirs))
        super().__init__(
            f"the sides located their edits with different statistics: {one} and {other}",
            hint="`editvc squash` on the older branch locates its edits again, with the statistics "
            "in force; then merge.",
        )


def combined(session: Session, store: ObjectStore, base: Base, ours: Tree, theirs: Tree) -> Merged:
    """The merge of two trees. Raises :class:`OtherBase` and :class:`OtherStatistics`."""
    if not ours.base == theirs.base == base.tree.base:
        raise OtherBase(ours, theirs)
    brought = [_statistics(session, store, base.tree, side) for side in (ours, theirs)]
    if not (brought[0] <= brought[1] or brought[1] <= brought[0]):
        raise OtherStatistics(*brought)
    return merged(store, base, ours, theirs)


def _statistics(session: Session, store: ObjectStore, before: Tree, after: Tree) -> set[ObjectId]:
    """The statistics that the located edits which one side brought were made with."""
    diff = EditSet(store, before.edits).diff(EditSet(store, after.edits))
    come = [*diff.added, *(new for _, new in diff.changed)]
    ids = {codec.metadata(store.get(entry.element))["recipe"] for entry in come}
    recipes = [session.repository.read_recipe(one) for one in ids]
    return {
        one.statistics
        for one in recipes
        if isinstance(one, LocatedRecipe) and one.statistics is not None
    }


def merge_base(
    session: Session, store: ObjectStore, ours: Sequence[ObjectId], theirs: ObjectId
) -> Base:
    """What ``theirs`` and ``ours``, one commit or what several make together, have in common."""
    plumbing = session.repository
    return base_of(store, plumbing.graph, plumbing.tree_of, ours, theirs)


def change_base(session: Session, commit: ObjectId) -> Base:
    """The base of a replay: the tree that a commit changed, its first parent's."""
    parents = session.repository.read_commit(commit).parents
    return Base(session.repository.tree_of(parents[0] if parents else None))


@dataclass(frozen=True, slots=True)
class CombinePreview:
    """What a merge or a replay would do: to facts and patches, and where it would stop.

    ``move`` says that the branch would move to a commit that is there, with nothing made.
    """

    commits: int
    changes: FactChanges
    conflicts: tuple[Conflict, ...] = ()
    move: ObjectId | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``--dry-run --json``."""
        return {
            "commits": self.commits,
            "fast_forward": self.move,
            "conflicts": [one.to_json() for one in self.conflicts],
        } | self.changes.to_json()


def changes_between(session: Session, store: ObjectStore, before: Tree, after: Tree) -> FactChanges:
    """What two trees do not share, where their nodes are in ``store`` and nowhere else."""
    old, new = EditSet(store, before.edits), EditSet(store, after.edits)
    slots = slots_of(store, before, after)
    steps = [(old.get(slot), new.get(slot)) for slot in sorted(slots)]
    return fact_changes_of(session, steps, before.patches, after.patches)


def slots_of(store: ObjectStore, before: Tree, after: Tree) -> dict[SlotId, Entry | None]:
    """The slots to set or to empty that lead from one tree to another."""
    diff = EditSet(store, before.edits).diff(EditSet(store, after.edits))
    come: Iterable[Entry] = (*diff.added, *(new for _, new in diff.changed))
    return {one.slot: None for one in diff.removed} | {one.slot: one for one in come}
