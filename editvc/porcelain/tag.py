"""``tag``: names of commits that stay where they are, as in git."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a commit, whatever is committed after it."""

    name: str
    commit: ObjectId

    def to_json(self) -> dict[str, Any]:
        """For ``tag --json``."""
        return {"name": self.name, "commit": self.commit}


def tags(session: Session) -> list[Tag]:
    """Every tag, by name."""
    return [Tag(name, commit) for name, commit in session.repository.refs.tags().items()]


def tags_by_commit(tags: Iterable[Tag]) -> dict[ObjectId, list[str]]:
    """The names of the tags at each commit."""
    at: dict[ObjectId, list[str]] = {}
    for tag in tags:
        at.setdefault(tag.commit, []).append(tag.name)
    return at


def create_tag(session: Session, name: str, at: str) -> None:
    """A new tag at a revision that is a commit."""
    plumbing = session.repository
    commit = plumbing.revisions.commit(at)
    plumbing.refs.create_tag(name, commit, author=session.author(), time=session.clock())


def delete_tag(session: Session, name: str) -> ObjectId:
    """Remove a tag; returns where it was, so that a caller can say how to get it back."""
    return session.repository.refs.delete_tag(name, author=session.author(), time=session.clock())
