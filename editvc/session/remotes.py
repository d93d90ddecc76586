"""Remotes of a repository: which one is meant, where its branches were, and what is moved here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId, short
from editvc.session.session import Session
from editvc.vcs.index_rebuild import add, contents_of
from editvc.vcs.refs import BRANCHES, REMOTES, TAGS, ReflogEntry
from editvc.vcs.remote_sections import RemoteSection
from editvc.vcs.remotes.connect import connect
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document
from editvc.vcs.remotes.transport import RemoteError
from editvc.vcs.repository import Repository

FIRST = "origin"
"""What a remote is called that nobody gave a name."""


class RemoteUnknown(RemoteError):
    """There is no remote of that name. ``known`` are those there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            name,
            "there is no remote of that name",
            hint="Remotes: " + (", ".join(known) or "none yet, `editvc remote add NAME URL`"),
        )


class OtherBaseThere(RemoteError):
    """The histories of a remote and of this repository are about different base models."""

    def __init__(self, url: str, theirs: ObjectId, ours: ObjectId) -> None:
        super().__init__(
            url,
            f"is about another base model, {short(theirs)}; that of this repository is "
            f"{short(ours)}",
            hint="`editvc clone URL DIR` makes a repository of its own for it.",
        )


@dataclass(frozen=True, slots=True)
class MovedRef:
    """A ref that went from one commit to another; ``None`` where it is not there.

    ``forced``: the new commit does not stand on the old one.
    """

    ref: str
    old: ObjectId | None
    new: ObjectId | None
    forced: bool = False

    @property
    def name(self) -> str:
        """``main`` for a branch, ``v1`` for a tag, ``origin/main`` for one of a remote."""
        for prefix in (BRANCHES, TAGS, REMOTES):
            if self.ref.startswith(prefix):
                return self.ref.removeprefix(prefix)
        return self.ref

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"ref": self.ref, "old": self.old, "new": self.new, "forced": self.forced}


def section_of(session: Session, name: str | None) -> tuple[str, RemoteSection]:
    """The remote of a name; without one that called origin, or the only one.

    Raises :class:`RemoteUnknown`.
    """
    remotes = session.repository.config.remotes
    if name is None:
        name = FIRST if FIRST in remotes or len(remotes) != 1 else next(iter(remotes))
    if name not in remotes:
        raise RemoteUnknown(name, remotes)
    return name, remotes[name]


def opened(session: Session, section: RemoteSection) -> Remote:
    """A remote, with the session's progress. Raises ``RemoteError``."""
    return Remote(connect(section.url), timeout=section.timeout, progress=session.progress)


def require_same_base(session: Session, remote: Remote, document: Document) -> None:
    """Raise :class:`OtherBaseThere` unless both are about the same base model."""
    ours = session.repository.config.base.id
    if document.base != ours:
        raise OtherBaseThere(remote.url, document.base, ours)


def tracking(name: str, refs: Mapping[str, ObjectId]) -> dict[str, ObjectId]:
    """Where branches of a remote are, by the refs that remember them here."""
    return {
        f"{REMOTES}{name}/{ref.removeprefix(BRANCHES)}": commit
        for ref, commit in refs.items()
        if ref.startswith(BRANCHES)
    }


def index_objects(plumbing: Repository, objects: Iterable[ObjectId]) -> None:
    """Let the index know of commits, facts and elements that have come. Only in a transaction."""
    contents = contents_of(plumbing.store, objects)
    add(plumbing.index, contents)
    plumbing.index.add_located(contents.located)


def follow(
    session: Session, targets: Mapping[str, ObjectId | None], words: str
) -> tuple[MovedRef, ...]:
    """Put refs where they shall be, ``None`` for nowhere; returns those that moved.

    Only inside a transaction.
    """
    plumbing, moved = session.repository, list[MovedRef]()
    author, time = session.author(), session.clock()
    for ref, new in targets.items():
        old = plumbing.refs.get(ref)
        if old != new:
            plumbing.refs.move(ReflogEntry(ref, old, new, author, time, words))
            moved.append(MovedRef(ref, old, new, forced(plumbing, old, new)))
    return tuple(moved)


def forced(plumbing: Repository, old: ObjectId | None, new: ObjectId | None) -> bool:
    """Whether a move leaves commits behind: ``new`` does not stand on ``old``."""
    if old is None or new is None:
        return False
    return plumbing.index.commit(old) is None or not plumbing.graph.is_ancestor(old, new)
