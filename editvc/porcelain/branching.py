"""``branch`` and ``switch``: plain refs, as in git."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from editvc.core.ids import ObjectId

if TYPE_CHECKING:
    from editvc.porcelain.repo import Repo


@dataclass(frozen=True, slots=True)
class Branch:
    """A name for a commit; ``commit`` is ``None`` for a branch without commits."""

    name: str
    commit: ObjectId | None
    current: bool

    def to_json(self) -> dict[str, Any]:
        """For ``branch --json``."""
        return {"name": self.name, "commit": self.commit, "current": self.current}


def branches(repo: Repo) -> list[Branch]:
    """Every branch by name; the current one even before its first commit."""
    refs = repo.repository.refs
    head, known = refs.head(), dict[str, ObjectId | None](refs.branches())
    if head.branch is not None:
        known.setdefault(head.branch, head.commit)
    return [Branch(name, known[name], name == head.branch) for name in sorted(known)]


def by_commit(branches: Iterable[Branch]) -> dict[ObjectId, list[Branch]]:
    """The branches at each commit, the current one first and the others as they come."""
    at: dict[ObjectId, list[Branch]] = {}
    for branch in sorted(branches, key=lambda branch: not branch.current):
        if branch.commit is not None:
            at.setdefault(branch.commit, []).append(branch)
    return at


def create(repo: Repo, name: str, at: str, *, author: str) -> None:
    """A new branch at a revision that is a commit."""
    plumbing = repo.repository
    commit = plumbing.revisions.commit(at)
    plumbing.refs.create_branch(name, commit, author=author, time=repo.clock())


def delete(repo: Repo, name: str, *, author: str) -> ObjectId:
    """Remove a branch; returns where it was, so that a caller can say how to get it back."""
    return repo.repository.refs.delete_branch(name, author=author, time=repo.clock())


def switch(repo: Repo, name: str, *, author: str) -> None:
    """Put HEAD on a branch."""
    repo.repository.refs.switch(name, author=author, time=repo.clock())


def detach(repo: Repo, revision: str, *, author: str) -> ObjectId:
    """Put HEAD on a commit itself, on no branch."""
    commit = repo.repository.revisions.commit(revision)
    repo.repository.refs.detach(commit, author=author, time=repo.clock())
    return commit
