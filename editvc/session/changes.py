"""What differs between two trees: facts, and patches that stand for none.

Read from small objects alone; no tensor, and so no torch, is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, short
from editvc.session.session import Session
from editvc.vcs import codec


@dataclass(frozen=True, slots=True)
class LivePatch:
    """A patch that stands for no fact: what it was made of (``lora``, ``difference``), and where.

    ``source`` is the name of the folder, ``digest`` a sha256 over what was read from it.
    """

    id: ObjectId
    kind: str
    source: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For ``status``, ``show`` and ``diff --json``."""
        return {
            "patch": self.id,
            "kind": self.kind,
            "source": self.source,
            "digest": self.digest,
        }

    def __str__(self) -> str:
        return f"{short(self.id)} {self.kind} {self.source} (digest {short(self.digest)})"


@dataclass(frozen=True, slots=True)
class PatchChanges:
    """The imported patches that one of two trees has and the other has not."""

    imported: tuple[LivePatch, ...] = ()
    left_out: tuple[LivePatch, ...] = ()

    @property
    def counts(self) -> list[str]:
        """How many came and how many went, in words; empty where none did."""
        counted = {"imported": len(self.imported), "left out": len(self.left_out)}
        return [
            f"{count} patch{'' if count == 1 else 'es'} {what}"
            for what, count in counted.items()
            if count
        ]

    def to_json(self) -> dict[str, Any]:
        """What every command says of patches with ``--json``."""
        return {
            "imported": [patch.to_json() for patch in self.imported],
            "left_out": [patch.to_json() for patch in self.left_out],
        }


@dataclass(frozen=True, slots=True)
class FactChanges:
    """What differs between two trees, as facts, and as patches that stand for none."""

    added: tuple[Fact, ...]
    removed: tuple[Fact, ...]
    changed: tuple[tuple[Fact, Fact], ...]
    relocated: tuple[Fact, ...]
    """Facts that both trees hold with other numbers (a squash, another recipe)."""
    patches: PatchChanges

    def to_json(self) -> dict[str, Any]:
        """The contract of ``diff --json``, without the norm of the delta."""
        return {
            "added": [fact_json(fact) for fact in self.added],
            "removed": [fact_json(fact) for fact in self.removed],
            "changed": [
                {"before": fact_json(before), "after": fact_json(after)}
                for before, after in self.changed
            ],
            "relocated": [fact_json(fact) for fact in self.relocated],
        } | self.patches.to_json()


def fact_json(fact: Fact) -> dict[str, Any]:
    """A fact for machine readers: its id and what was written down."""
    return {"fact": fact.id} | {k: v for k, v in fact.to_json().items() if k != "kind"}


def live_patch(session: Session, identifier: ObjectId) -> LivePatch:
    """What a patch says of where it comes from."""
    origin = codec.metadata(session.repository.store.get(identifier))["import"]
    return LivePatch(identifier, origin["kind"], origin["source"], origin["digest"])


def fact_changes(session: Session, before: Tree, after: Tree) -> FactChanges:
    """What two trees do not share: facts in slot order, and patches that stand for no fact."""
    plumbing = session.repository
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    added, removed = ((None, entry) for entry in diff.added), ((old, None) for old in diff.removed)
    steps = [*added, *removed, *diff.changed]
    return fact_changes_of(session, steps, before.patches, after.patches)


def fact_changes_of(
    session: Session,
    steps: Iterable[tuple[Entry | None, Entry | None]],
    before: Iterable[ObjectId],
    after: Iterable[ObjectId],
) -> FactChanges:
    """What changes of slots, given as (entry before, entry after), and of patches mean."""
    added, removed, changed, relocated = [], [], [], []
    read = session.repository.read_fact
    for old, new in steps:
        if old is None and new is not None:
            added.append(read(new.fact))
        elif old is not None and new is None:
            removed.append(read(old.fact))
        elif old is not None and new is not None and old.fact != new.fact:
            changed.append((read(old.fact), read(new.fact)))
        elif new is not None:
            relocated.append(read(new.fact))
    return FactChanges(
        tuple(added),
        tuple(removed),
        tuple(changed),
        tuple(relocated),
        patch_changes(session, before, after),
    )


def patch_changes(
    session: Session, before: Iterable[ObjectId], after: Iterable[ObjectId]
) -> PatchChanges:
    """What two trees with these patches do not share of them."""
    gone, come = set(before), set(after)
    return PatchChanges(
        imported=tuple(live_patch(session, one) for one in sorted(come - gone)),
        left_out=tuple(live_patch(session, one) for one in sorted(gone - come)),
    )
