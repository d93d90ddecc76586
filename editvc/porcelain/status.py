"""``status``: where HEAD is, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.history import Restraint, Tree
from editvc.core.ids import ObjectId, object_id
from editvc.porcelain.conflicts import Conflict, conflicts_of
from editvc.session.changes import LivePatch, live_patch
from editvc.session.expiry import expired_count
from editvc.session.session import Session
from editvc.session.unfinished import waiting
from editvc.vcs import codec


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A merge, or a replay of commits, that waits: what it is, and its conflicts."""

    verb: str
    about: str
    conflicts: tuple[Conflict, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``status --json``."""
        conflicts = [one.to_json() for one in self.conflicts]
        return {"verb": self.verb, "about": self.about, "conflicts": conflicts}


@dataclass(frozen=True, slots=True)
class Status:
    """Where a repository stands. ``commit`` is ``None`` before the first commit.

    ``expired`` counts live facts whose ``valid_until`` is over.
    """

    commit: ObjectId | None
    number: int
    branch: str | None
    tree: ObjectId
    base: ObjectId
    source: str | None
    live: int
    in_force: bool = True
    patches: tuple[LivePatch, ...] = ()
    restraint: Restraint | None = None
    unfinished: Unresolved | None = None
    expired: int = 0

    def to_json(self) -> dict[str, Any]:
        """The contract of ``status --json``."""
        return {
            "commit": self.commit,
            "number": self.number,
            "branch": self.branch,
            "tree": self.tree,
            "base": self.base,
            "source": self.source,
            "in_force": self.in_force,
            "live": self.live,
            "expired": self.expired,
            "patches": [patch.to_json() for patch in self.patches],
            "restraint": None if self.restraint is None else self.restraint.to_json(),
            "unfinished": None if self.unfinished is None else self.unfinished.to_json(),
        }


def status(session: Session) -> Status:
    """Where HEAD is and what it holds."""
    plumbing = session.repository
    head, base = plumbing.refs.found_head(), plumbing.config.base
    row = plumbing.graph.row(head.commit) if head.commit is not None else None
    tree = plumbing.read_tree(row.tree) if row else Tree(base=base.id)
    return Status(
        commit=head.commit,
        number=row.number if row else 0,
        branch=head.branch,
        tree=row.tree if row else object_id(codec.encode(tree)),
        base=tree.base,
        source=base.model if tree.base == base.id else plumbing.bases.place_of(tree.base),
        in_force=tree.base == base.id,
        live=row.live if row else 0,
        patches=tuple(live_patch(session, one) for one in tree.patches),
        restraint=tree.restraint,
        unfinished=_unresolved(session),
        expired=expired_count(session),
    )


def _unresolved(session: Session) -> Unresolved | None:
    if (pending := waiting(session)) is None:
        return None
    return Unresolved(pending.verb, pending.about, conflicts_of(session, pending))
