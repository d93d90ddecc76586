"""Conflicts for people: what the base and both sides say in a place, who said it, when and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint
from editvc.core.ids import ObjectId, SlotId
from editvc.porcelain.log import iso_time
from editvc.session.changes import fact_json
from editvc.session.session import Session
from editvc.vcs.commit_changes import changes_of
from editvc.vcs.index_rows import CommitRow
from editvc.vcs.pending import RESTRAINT, Pending
from editvc.vcs.three_way import SIDES


@dataclass(frozen=True, slots=True)
class Version:
    """What one side has: a ``fact``, or a restraint in words, or nothing; and who made it so."""

    fact: Fact | None = None
    restraint: str | None = None
    commit: CommitRow | None = None

    @property
    def says(self) -> str:
        """The target, or the restraint, or that there is none."""
        return self.fact.target_new if self.fact else self.restraint or "nothing"

    def to_json(self) -> dict[str, Any]:
        """For ``merge --json``."""
        by = self.commit
        return {
            "fact": fact_json(self.fact) if self.fact else None,
            "restraint": self.restraint,
            "commit": by.id if by else None,
            "author": by.author if by else None,
            "time": iso_time(by.time) if by else None,
            "message": by.message if by else None,
        }


@dataclass(frozen=True, slots=True)
class Conflict:
    """A place that both sides changed, each in its way. ``chosen`` is what was decided, if yet."""

    place: str
    base: Version
    ours: Version
    theirs: Version
    chosen: str | None

    @property
    def question(self) -> str:
        """What it is about."""
        facts = (one.fact for one in (self.ours, self.theirs, self.base))
        return next((one.question for one in facts if one is not None), RESTRAINT)

    @property
    def versions(self) -> tuple[tuple[str, Version], ...]:
        """The three by name."""
        return tuple(zip(SIDES, (self.base, self.ours, self.theirs), strict=True))

    def to_json(self) -> dict[str, Any]:
        """For ``merge --json``."""
        return {"place": self.place, "question": self.question, "chosen": self.chosen} | {
            name: version.to_json() for name, version in self.versions
        }


def conflicts_of(session: Session, pending: Pending) -> tuple[Conflict, ...]:
    """The conflicts of what waits, in the order of their slots."""
    read = session.repository.read_fact
    made_by = _made_by(session, pending)

    def version(slot: SlotId, side: str, entry: Entry | None) -> Version:
        return Version(read(entry.fact) if entry else None, commit=made_by[side].get(slot))

    found = [
        Conflict(
            slot,
            version(slot, "base", sides.base),
            version(slot, "ours", sides.ours),
            version(slot, "theirs", sides.theirs),
            pending.chosen.get(slot),
        )
        for slot, sides in sorted(pending.conflicts.items())
    ]
    if (limits := pending.restraints) is not None:
        base, ours, theirs = map(_restrained, (limits.base, limits.ours, limits.theirs))
        found.append(Conflict(RESTRAINT, base, ours, theirs, pending.chosen.get(RESTRAINT)))
    return tuple(found)


def _restrained(restraint: Restraint | None) -> Version:
    return Version(restraint=restraint.words if restraint is not None else None)


def _made_by(session: Session, pending: Pending) -> dict[str, dict[SlotId, CommitRow]]:
    """The commit that made each slot what it is, on every side."""
    plumbing, slots = session.repository, set(pending.conflicts)
    graph = plumbing.graph
    new = _of_new_commits(session, pending, slots)
    line = plumbing.read_commit(pending.done[0]).parents[:1] if pending.done else (pending.parent,)
    ours = [one for one in line if one is not None]
    if pending.replayed is not None:
        row = graph.row(pending.replayed)
        theirs, bases = dict.fromkeys(slots, row), set(row.parents[:1])
        exclude: Iterable[ObjectId] = ()
    else:
        theirs = graph.changed_by(slots, pending.others, exclude=ours)
        bases, exclude = graph.merge_bases(ours, pending.others), pending.others
    return {
        "base": graph.changed_by(slots, bases),
        "ours": graph.changed_by(slots, ours, exclude) | new,
        "theirs": theirs,
    }


def _of_new_commits(
    session: Session, pending: Pending, slots: set[SlotId]
) -> dict[SlotId, CommitRow]:
    """The same of commits that a replay has made so far, which the index does not hold yet."""
    found: dict[SlotId, CommitRow] = {}
    for identifier in pending.done:
        commit = session.repository.read_commit(identifier)
        for change in changes_of(session.repository.store, identifier, commit):
            if change.slot in slots:
                found[SlotId(change.slot)] = CommitRow.of(identifier, commit)
    return found
