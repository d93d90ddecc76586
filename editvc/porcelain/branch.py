"""``branch``: names of commits, as in git."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class Branch:
    """A name for a commit; ``commit`` is ``None`` for a branch without commits."""

    name: str
    commit: ObjectId | None
    current: bool

    def to_json(self) -> dict[str, Any]:
        """For ``branch --json``."""
        return {"name": self.name, "commit": self.commit, "current": self.current}


def branches(session: Session) -> list[Branch]:
    """Every branch by name; the current one even before its first commit."""
    refs = session.repository.refs
    head, known = refs.head(), dict[str, ObjectId | None](refs.branches())
    if head.branch is not None:
        known.setdefault(head.branch, head.commit)
    return [Branch(name, known[name], name == head.branch) for name in sorted(known)]


def remote_branches(session: Session) -> list[Branch]:
    """The branches of remotes, as ``origin/main``, where they were seen last."""
    found = session.repository.refs.remote_branches()
    return [Branch(name, commit, False) for name, commit in found.items()]


def by_commit(branches: Iterable[Branch]) -> dict[ObjectId, list[Branch]]:
    """The branches at each commit, the current one first and the others as they come."""
    at: dict[ObjectId, list[Branch]] = {}
    for branch in sorted(branches, key=lambda branch: not branch.current):
        if branch.commit is not None:
            at.setdefault(branch.commit, []).append(branch)
    return at


def create(session: Session, name: str, at: str) -> None:
    """A new branch at a revision that is a commit."""
    plumbing = session.repository
    commit = plumbing.revisions.commit(at)
    plumbing.refs.create_branch(name, commit, author=session.author(), time=session.clock())


def delete(session: Session, name: str) -> ObjectId:
    """Remove a branch; returns where it was, so that a caller can say how to get it back."""
    return session.repository.refs.delete_branch(
        name, author=session.author(), time=session.clock()
    )
