"""What differs between two trees, in steps that can be taken one by one, in any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.session.recording import with_changes
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class SlotStep:
    """A slot that is set, emptied, or set otherwise."""

    slot: SlotId
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class PatchStep:
    """A patch that stands for no fact, which comes or goes."""

    patch: ObjectId
    live: bool


@dataclass(frozen=True, slots=True)
class RestraintStep:
    """Another restraint of the whole."""

    restraint: Restraint | None


Step = SlotStep | PatchStep | RestraintStep


def steps_between(session: Session, before: Tree, after: Tree) -> list[Step]:
    """All steps from one tree to another: slots in order, then patches, then the restraint."""
    plumbing = session.repository
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    slots = [SlotStep(entry.slot, None, entry) for entry in diff.added]
    slots += [SlotStep(entry.slot, entry, None) for entry in diff.removed]
    slots += [SlotStep(old.slot, old, new) for old, new in diff.changed]
    come, gone = set(after.patches), set(before.patches)
    return [
        *sorted(slots, key=lambda step: step.slot),
        *(PatchStep(patch, patch in come) for patch in sorted(come ^ gone)),
        *([RestraintStep(after.restraint)] if after.restraint != before.restraint else []),
    ]


def stepped(session: Session, tree: Tree, steps: Sequence[Step]) -> Tree:
    """The tree after some of the steps; writes its nodes."""
    slots = {step.slot: step.new for step in steps if isinstance(step, SlotStep)}
    patches = set(tree.patches)
    restraint = tree.restraint
    for step in steps:
        if isinstance(step, PatchStep):
            (patches.add if step.live else patches.discard)(step.patch)
        elif isinstance(step, RestraintStep):
            restraint = step.restraint
    changed = with_changes(session, tree, slots)
    return replace(changed, patches=tuple(patches), restraint=restraint)
