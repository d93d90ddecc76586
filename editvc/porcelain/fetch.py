"""``fetch``: what a remote has and this repository has not, and where its branches are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.session.remotes import (
    MovedRef,
    follow,
    forced,
    index_objects,
    opened,
    require_same_base,
    section_of,
    tracking,
)
from editvc.session.session import Session
from editvc.vcs.refs import BRANCHES, REMOTES, TAGS
from editvc.vcs.remotes.document import Document, Listed
from editvc.vcs.remotes.intake import Intake
from editvc.vcs.repository import Repository


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: refs that moved here, commits and bytes of packs that came, and tags
    that were ``left`` as they are here, though the remote has them elsewhere.
    """

    remote: str
    url: str
    moved: tuple[MovedRef, ...]
    commits: int
    size: int
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``fetch --json``."""
        return {
            "remote": self.remote,
            "url": self.url,
            "refs": [one.to_json() for one in self.moved],
            "commits": self.commits,
            "bytes": self.size,
            "tags_left": list(self.left),
        }


def fetch(session: Session, name: str | None = None, *, prune: bool = False) -> Fetched:
    """Take what is new in a remote; no branch of this repository moves.

    ``prune`` forgets branches that the remote has no more. Objects come first and are checked, then
    index, refs and reflog are one transaction: whatever stops it, the next one goes on. Raises
    ``RemoteUnknown``, ``OtherBaseThere``, ``RemoteUnreached``, ``RemoteDamaged``, ``PackRefused``.
    """
    name, section = section_of(session, name)
    remote = opened(session, section)
    document = remote.require()
    require_same_base(session, remote, document)
    plumbing = session.repository
    plumbing.store.open()  # what is here now, and what comes, stays until refs lead to it
    needed = _needed(plumbing, document)
    intake = Intake.of(remote, plumbing.store, plumbing.files)
    came = take_in(intake, document, needed, plumbing)
    targets, left = _targets(plumbing, name, document, prune)
    with plumbing.index.transaction():
        index_objects(plumbing, came)
        moved = follow(session, targets, f"fetch: {name}")
    commits = sum(plumbing.index.commit(one) is not None for one in came)
    return Fetched(name, remote.url, moved, commits, _bytes(needed), left)


def preview_fetch(session: Session, name: str | None = None, *, prune: bool = False) -> Fetched:
    """What :func:`fetch` would do, by what the remote says of itself; nothing is taken or written.

    Its ``commits`` are the tips that are new.
    """
    name, section = section_of(session, name)
    remote = opened(session, section)
    document = remote.require()
    require_same_base(session, remote, document)
    plumbing, needed = session.repository, _needed(session.repository, document)
    targets, left = _targets(plumbing, name, document, prune)
    moved = tuple(
        MovedRef(ref, plumbing.refs.get(ref), new, _would_force(plumbing, ref, new))
        for ref, new in targets.items()
        if plumbing.refs.get(ref) != new
    )
    tips = {commit for commit in document.refs.values() if not has(plumbing, commit)}
    return Fetched(name, remote.url, moved, len(tips), _bytes(needed), left)


def _would_force(plumbing: Repository, ref: str, new: ObjectId | None) -> bool:
    known = new is not None and has(plumbing, new)
    return known and forced(plumbing, plumbing.refs.get(ref), new)


def has(plumbing: Repository, commit: ObjectId) -> bool:
    """Whether a commit is here, and so all that it needs."""
    return plumbing.index.commit(commit) is not None and plumbing.store.contains(commit)


def take_in(
    intake: Intake, document: Document, needed: tuple[Listed, ...], plumbing: Repository
) -> tuple[ObjectId, ...]:
    """Read packs, check what they hold, and make it part of the store; returns what is new.

    Where the other side is to blame nothing stays; where it was interrupted, packs that have come
    whole do, and the next attempt begins behind them.
    """
    with intake.kept_whole():
        intake.take(needed)
        return intake.check(document, (), lambda commit: has(plumbing, commit))


def _needed(plumbing: Repository, document: Document) -> tuple[Listed, ...]:
    """The packs that hold something that is not here; none where all refs lead to what is."""
    if all(has(plumbing, commit) for commit in document.refs.values()):
        return ()
    return tuple(
        pack
        for pack in document.packs
        if not pack.commits or not all(has(plumbing, commit) for commit in pack.commits)
    )


def _bytes(packs: tuple[Listed, ...]) -> int:
    return sum(pack.size for pack in packs)


def _targets(
    plumbing: Repository, name: str, document: Document, prune: bool
) -> tuple[Mapping[str, ObjectId | None], tuple[str, ...]]:
    """Where refs shall be, and the tags that stay where they are.

    A tag is taken as it is where its name is free here.
    """
    targets: dict[str, ObjectId | None] = {**tracking(name, document.refs)}
    if prune:
        known = plumbing.refs.remote_branches(name)
        refs = (f"{REMOTES}{name}/{branch}" for branch in known)
        targets |= {ref: None for ref in refs if ref not in targets}
    left = []
    for ref, commit in document.refs.items():
        if not ref.startswith(TAGS):
            continue
        tag = ref.removeprefix(TAGS)
        there, branch = plumbing.refs.get(ref), plumbing.refs.get(BRANCHES + tag)
        if branch is None and there is None and tag != plumbing.refs.head().branch:
            targets[ref] = commit
        elif there != commit:
            left.append(tag)
    return targets, tuple(left)
