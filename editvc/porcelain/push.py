"""``push``: branches and tags to a remote, with what it lacks of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.porcelain.fetch import has
from editvc.session.on_branch import waits
from editvc.session.remotes import (
    MovedRef,
    follow,
    forced,
    opened,
    require_same_base,
    section_of,
)
from editvc.session.session import Session
from editvc.vcs.object_links import Link
from editvc.vcs.refs import BRANCHES, REMOTES, TAGS, BranchUnknown, readable
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document
from editvc.vcs.remotes.outgoing import (
    Missing,
    first_document,
    with_former_bases,
    with_pack,
)
from editvc.vcs.remotes.transport import RemoteError, RemoteMoved, Seen


class NotFastForward(EditvcError):
    """A ref of a remote has what this repository's has not, so it is not moved."""

    exit_code: ClassVar[int] = 5

    def __init__(self, url: str, ref: str, why: str) -> None:
        super().__init__(
            f"! [rejected] {readable(ref)} ({why}): updates were rejected because {url} has work "
            "that yours does not stand on",
            hint="`editvc pull` takes it in, then push again; --force leaves it behind.",
        )
        self.ref = ref
        self.why = why


class TagThere(EditvcError):
    """A tag of that name is in the remote, at another commit: tags stay where they are."""

    def __init__(self, url: str, ref: str) -> None:
        super().__init__(
            f"! [rejected] {readable(ref)} (already exists) in {url}",
            hint="Give yours another name, or --force.",
        )
        self.ref = ref


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: refs that moved in the remote, the commits that were new there, and the
    bytes that were sent.
    """

    remote: str
    url: str
    moved: tuple[MovedRef, ...]
    commits: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """For ``push --json``."""
        return {
            "remote": self.remote,
            "url": self.url,
            "refs": [one.to_json() for one in self.moved],
            "commits": self.commits,
            "bytes": self.size,
        }


@dataclass(frozen=True, slots=True)
class _Plan:
    """A remote as it was seen, and how its refs are to move."""

    document: Document
    seen: Seen
    links: list[Link]
    moved: tuple[MovedRef, ...]

    @property
    def refs(self) -> Mapping[str, ObjectId | None]:
        return {one.ref: one.new for one in self.moved}


def push(
    session: Session,
    name: str | None = None,
    names: Sequence[str] = (),
    *,
    tags: bool = False,
    force: bool = False,
    delete: bool = False,
) -> Pushed:
    """Move branches and tags of a remote to where they are here; by default HEAD's branch.

    ``tags``: and all tags. ``delete`` takes them away there. The pack is sent first, under its
    digest, and the remote's document swapped for one that lists it. Where others swap theirs in
    between, it begins again as long as it means the same. Raises :class:`NotFastForward`,
    :class:`TagThere`, ``RemoteMoved`` where others are faster time and again, ``OtherBaseThere``,
    ``RemoteUnreached``.
    """
    name, section = section_of(session, name)
    remote, wanted = opened(session, section), _wanted(session, names, tags, delete)
    for wait in waits():
        try:
            return _attempt(session, name, remote, wanted, force)
        except RemoteMoved as moved:
            last = moved
        time.sleep(wait)
    raise last


def preview_push(
    session: Session,
    name: str | None = None,
    names: Sequence[str] = (),
    *,
    tags: bool = False,
    force: bool = False,
    delete: bool = False,
) -> Pushed:
    """What :func:`push` would do: nothing is sent, and no ref moves."""
    session = session.scratch()
    name, section = section_of(session, name)
    remote, wanted = opened(session, section), _wanted(session, names, tags, delete)
    plan = _planned(session, remote, wanted, force)
    missing = _missing(session, plan)
    return Pushed(name, remote.url, plan.moved, missing.commits, missing.measure())


def _attempt(
    session: Session,
    name: str,
    remote: Remote,
    wanted: Mapping[str, ObjectId | None],
    force: bool,
) -> Pushed:
    plan = _planned(session, remote, wanted, force)
    commits = size = 0
    if plan.moved:
        missing = _missing(session, plan)
        commits = missing.commits
        with missing.packed() as pack:
            if pack is not None and remote.send(pack.listed, pack.file):
                size = pack.listed.size
            remote.swap(with_pack(plan.document, plan.refs, pack), plan.seen)
    seen = {
        f"{REMOTES}{name}/{ref.removeprefix(BRANCHES)}": commit
        for ref, commit in wanted.items()
        if ref.startswith(BRANCHES)
    }
    with session.repository.index.transaction():
        follow(session, seen, f"push: {name}")
    return Pushed(name, remote.url, plan.moved, commits, size)


def _wanted(
    session: Session, names: Sequence[str], tags: bool, delete: bool
) -> dict[str, ObjectId | None]:
    """Refs by full names, and where they shall be. Raises ``RemoteError`` and ``BranchUnknown``."""
    refs = session.repository.refs
    if not names and not tags:
        head = refs.found_head()
        if head.branch is None or head.commit is None:
            problem = "is on no branch" if head.branch is None else "has no commit yet"
            raise RemoteError("HEAD", problem, hint="Name what to push: editvc push REMOTE BRANCH.")
        names = [head.branch]
    if delete:
        return {_full(session, one): None for one in names}
    wanted: dict[str, ObjectId | None] = {}
    for one in names:
        ref = TAGS + one if refs.get(TAGS + one) is not None else BRANCHES + one
        wanted[ref] = refs.get(ref)
        if wanted[ref] is None:
            raise BranchUnknown(one, list(refs.branches()))
    if tags:
        wanted |= {TAGS + tag: commit for tag, commit in refs.tags().items()}
    return wanted


def _full(session: Session, name: str) -> str:
    tag = session.repository.refs.get(TAGS + name) is not None
    return TAGS + name if tag else BRANCHES + name


def _planned(
    session: Session, remote: Remote, wanted: Mapping[str, ObjectId | None], force: bool
) -> _Plan:
    document, seen = remote.look()
    if document is None:
        document, links = first_document(session.repository)
    else:
        require_same_base(session, remote, document)
        document, links = with_former_bases(session.repository, document)
    moved = tuple(_moves(session, remote.url, document, wanted, force))
    return _Plan(document, seen, links, moved)


def _moves(
    session: Session,
    url: str,
    document: Document,
    wanted: Mapping[str, ObjectId | None],
    force: bool,
) -> Iterator[MovedRef]:
    """The refs that move, each allowed to."""
    plumbing = session.repository
    for ref, new in wanted.items():
        old = document.refs.get(ref)
        if old == new:
            continue
        behind = new is not None and forced(plumbing, old, new)
        if old is not None and new is not None and not force:
            if ref.startswith(TAGS):
                raise TagThere(url, ref)
            if behind:
                why = "non-fast-forward" if has(plumbing, old) else "fetch first"
                raise NotFastForward(url, ref, why)
        yield MovedRef(ref, old, new, behind)


def _missing(session: Session, plan: _Plan) -> Missing:
    """What the remote lacks: commits that both have bound it."""
    tips = [one.new for one in plan.moved if one.new is not None]
    there = [one for one in plan.document.refs.values() if has(session.repository, one)]
    return Missing.of(session.repository, tips, there, plan.document.common, plan.links)
