"""``revert``: take a commit's edits, or one fact, out of the set again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, SlotId, short
from editvc.core.invisible import require_visible
from editvc.errors import EditvcError
from editvc.session.changes import FactChanges, PatchChanges, fact_changes_of, patch_changes
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, advance, with_changes
from editvc.session.session import Session
from editvc.vcs.revisions import UnknownRevision

FACT_ID = re.compile(r"[0-9a-f]{4,64}")


class RevertConflict(EditvcError):
    """A slot that the commit set has been set again since."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(
            f"cannot revert: {quoted(fact.question)} has been changed by a later commit",
            hint="Revert the later commit first, or revert the live fact by its id "
            "(`editvc show HEAD`).",
            details=fact.request.to_json(),
        )
        self.fact = fact


@dataclass(frozen=True, slots=True)
class RevertResult(CommitResult):
    """The new commit; ``patches`` are imported ones that came or went with what was reverted."""

    patches: PatchChanges = field(default_factory=PatchChanges)

    def to_json(self) -> dict[str, Any]:
        """The contract of ``revert --json``."""
        return CommitResult.to_json(self) | self.patches.to_json()


def revert(session: Session, target: str, *, message: str | None, author: str) -> RevertResult:
    """Commit HEAD's set without what ``target``, a revision or a live fact, brought in.

    ``target`` means what it meant at the beginning, whatever is committed meanwhile.
    """
    require_visible(message=message)
    pinned = _pinned(session, target)

    def attempt(tip: Tip) -> RevertResult:
        undone = undo(session, tip.tree, pinned)
        done = advance(
            session,
            tip,
            replace(with_changes(session, tip.tree, undone.slots), patches=undone.patches),
            message=message or f"Revert {undone.what}",
            author=author,
            verb="revert",
        )
        patches = patch_changes(session, tip.tree.patches, undone.patches)
        return RevertResult(done.id, done.commit, patches=patches)

    return on_branch(session, attempt)


def _pinned(session: Session, target: str) -> str:
    """A revision by the whole id of its commit: names like HEAD move with the branch."""
    try:
        return session.repository.revisions.resolve(target) or target
    except UnknownRevision:
        return target


@dataclass(frozen=True, slots=True)
class RevertPreview:
    """The facts and patches that a revert would take out, bring back or change."""

    changes: FactChanges

    def summary(self) -> str:
        """In words."""
        patches = self.changes.patches
        edits = [f"- {fact.line}" for fact in self.changes.removed]
        edits += [f"+ {fact.line}" for fact in self.changes.added]
        edits += [f"~ {new.line}" for _, new in self.changes.changed]
        lines = [*edits, *(f"- patch {patch}" for patch in patches.left_out)]
        lines += [f"+ patch {patch}" for patch in patches.imported]
        counts = [f"{len(edits)} edit{'' if len(edits) == 1 else 's'} changed", *patches.counts]
        return "\n".join([*lines, f"{', '.join(counts)}; nothing was written"])

    def to_json(self) -> dict[str, Any]:
        """For ``revert --dry-run --json``."""
        return self.changes.to_json()


def preview_revert(session: Session, target: str) -> RevertPreview:
    """What ``revert`` would do on HEAD."""
    tree = tip_of_head(session).tree
    undone, live = undo(session, tree, target), session.repository.edits_of(tree)
    steps = [(live.get(slot), after) for slot, after in sorted(undone.slots.items())]
    return RevertPreview(fact_changes_of(session, steps, tree.patches, undone.patches))


@dataclass(frozen=True, slots=True)
class Undone:
    """What a revert changes in a tree.

    ``slots`` are those to set or empty, ``patches`` all that are live afterwards, ``what`` is
    reverted, in words.
    """

    what: str
    slots: Mapping[SlotId, Entry | None]
    patches: tuple[ObjectId, ...]


def undo(session: Session, tree: Tree, target: str) -> Undone:
    """What it takes to revert ``target``, a revision or a live fact, in ``tree``.

    Raises :class:`RevertConflict`, and :class:`NothingToDo` where nothing of it is live.
    """
    undone = _undone(session, tree, target)
    if not undone.slots and set(undone.patches) == set(tree.patches):
        raise NothingToDo(
            f"nothing to revert: nothing of {undone.what} is live any more",
            hint="To bring back what a revert took out, revert that revert (`editvc log`).",
        )
    return undone


def _undone(session: Session, tree: Tree, target: str) -> Undone:
    try:
        commit = session.repository.revisions.resolve(target)
    except UnknownRevision:
        entry = _live_entry(session, tree, target)
        if entry is None:
            raise
        fact = session.repository.read_fact(entry.fact)
        what = f"fact {short(entry.fact)} ({quoted(fact.question)})"
        return Undone(what, {entry.slot: None}, tree.patches)
    if commit is None:
        raise NothingToDo(
            "the base holds no edits, so there is nothing to revert",
            hint="Name a commit (`editvc log`) or a live fact (`editvc show`).",
        )
    return _inverse(session, tree, commit)


def _live_entry(session: Session, tree: Tree, prefix: str) -> Entry | None:
    """The live entry whose fact id starts with ``prefix``; ``None`` where there is no such fact."""
    if not FACT_ID.fullmatch(prefix):
        return None
    entries = session.repository.edits_of(tree).entries()
    matches = [entry for entry in entries if entry.fact.startswith(prefix)]
    if len(matches) > 1:
        raise EditvcError(
            f"fact id {prefix} is ambiguous: " + ", ".join(short(one.fact) for one in matches[:5]),
            hint="Give more digits.",
        )
    return matches[0] if matches else None


def _inverse(session: Session, tree: Tree, commit: ObjectId) -> Undone:
    """The inverse of a commit against its first parent, applied to ``tree``.

    Entries are compared by fact, not by numbers: a fact that a squash located again is still the
    fact that the commit brought in.
    """
    plumbing = session.repository
    parents = plumbing.read_commit(commit).parents
    before, after = plumbing.tree_of(parents[0] if parents else None), plumbing.tree_of(commit)
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    steps: list[tuple[SlotId, Entry | None, Entry | None]] = [
        *((entry.slot, None, entry) for entry in diff.added),
        *((entry.slot, entry, None) for entry in diff.removed),
        *((old.slot, old, new) for old, new in diff.changed),
    ]
    live = plumbing.edits_of(tree)
    changes: dict[SlotId, Entry | None] = {}
    for slot, old, new in steps:
        now = live.get(slot)
        if _fact(now) == _fact(old):
            continue
        if _fact(now) != _fact(new):
            raise RevertConflict(plumbing.read_fact((now or new or old).fact))  # type: ignore[union-attr]
        changes[slot] = old
    come, gone = set(after.patches), set(before.patches)
    patches = (set(tree.patches) - (come - gone)) | (gone - come)
    return Undone(f"commit {short(commit)}", changes, tuple(sorted(patches)))


def _fact(entry: Entry | None) -> ObjectId | None:
    return entry.fact if entry is not None else None
