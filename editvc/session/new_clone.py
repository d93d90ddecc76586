"""A new repository made of what another place holds: a remote, a bundle, a published model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.session.new_folder import template_folder
from editvc.session.remotes import follow, index_objects, tracking
from editvc.session.session import Session
from editvc.vcs import codec
from editvc.vcs.config_file import Config, parse
from editvc.vcs.files import Fault, Files, unique
from editvc.vcs.reachable import config_links
from editvc.vcs.refs import BRANCHES, HEAD, SYMBOLIC, TAGS, BranchUnknown, ReflogEntry
from editvc.vcs.remote_sections import RemoteSection, with_remotes
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document
from editvc.vcs.remotes.intake import Arrived, Intake
from editvc.vcs.remotes.shared_settings import settings_in
from editvc.vcs.remotes.transport import RemoteDamaged
from editvc.vcs.repository import FIRST_BRANCH, FOLDER, Repository
from editvc.vcs.store import PACKS, DiskStore


@dataclass(frozen=True, slots=True)
class Cloned:
    """A new repository: its ``folder``, the base it is about, where HEAD is, and what came."""

    folder: Path
    url: str
    base: str
    branch: str | None
    commit: ObjectId | None
    commits: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """For ``clone --json``."""
        return {
            "path": str(self.folder),
            "url": self.url,
            "base": self.base,
            "branch": self.branch,
            "commit": self.commit,
            "commits": self.commits,
            "bytes": self.size,
        }


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a clone comes from: what to read there, and what to call it in messages.

    ``branch`` is the one to be on, if not the origin's own; ``sections`` are the remotes that the
    clone has, of which the first is the origin.
    """

    remote: Remote
    url: str
    branch: str | None = None
    sections: Mapping[str, RemoteSection] = field(default_factory=dict)


def make_clone(
    origin: Origin,
    path: Path,
    opened: Callable[[Repository], Session],
    finish: Callable[[Session], None],
    fault: Fault | None,
) -> Cloned:
    """Make ``path/.editvc`` of what an origin holds, whole or not at all.

    ``opened`` makes a session of it, and ``finish`` may refuse what has come. Raises
    ``BranchUnknown``, ``RemoteUnreached``, ``RemoteDamaged`` and ``PackRefused``.
    """
    document = origin.remote.require()
    head = _head(document, origin.branch)
    new, files = not path.exists(), Files(fault)
    path.mkdir(parents=True, exist_ok=True)
    draft = path / f"{FOLDER}.tmp-{unique()}"
    try:
        came = _create(draft, origin.remote, document, origin.sections, files)
        with closing(Repository(draft / FOLDER, fault)) as plumbing:
            session = opened(plumbing)
            _put_refs(session, origin, document, head, came)
            finish(session)
            cloned = _told(session, path / FOLDER, origin.url, document, came)
        files.rename_folder(draft / FOLDER, path / FOLDER)
        return cloned
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if new:
            with suppress(OSError):
                path.rmdir()
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _head(document: Document, branch: str | None) -> str | None:
    """The branch that HEAD is to be on; ``None`` where there is none."""
    there = [ref.removeprefix(BRANCHES) for ref in document.refs if ref.startswith(BRANCHES)]
    if branch is not None and branch not in there:
        raise BranchUnknown(branch, there)
    chosen = branch or document.head
    return chosen if chosen in there else next(iter(sorted(there)), None)


def _create(
    draft: Path,
    remote: Remote,
    document: Document,
    sections: Mapping[str, RemoteSection],
    files: Files,
) -> tuple[ObjectId, ...]:
    """Make ``draft/.editvc`` with all objects and no refs; returns what came."""
    intake = Intake.of(remote, DiskStore(draft / "objects", files), files)
    intake.require_needs(document, nothing_is_here)
    intake.take(document.packs)
    arrived = Arrived(intake.store, intake.packs)
    text, config = _settings(remote, document.base, document.settings, arrived)
    former = [_settings(remote, *each, arrived) for each in document.former.items()]
    roots = [
        ("settings", document.settings),
        *(("settings", one) for one in document.former.values()),
        *(link for one in (config, *(c for _, c in former)) for link in config_links(one, arrived)),
    ]
    came = intake.check(document, roots, nothing_is_here)
    base = codec.decode_base(
        arrived.get(config.base.id), source=config.base.model, revision=config.base.revision
    )
    with resources.as_file(template_folder()) as template:
        made = Repository.create(
            draft,
            base=base,
            recipe=config.recipe,
            config_text=with_remotes(text, sections),
            template=template,
            fault=files.fault,
        )
    with closing(made):
        for known, _ in former:
            made.bases.add(known)
    place = draft / FOLDER / "objects" / PACKS
    files.make_folder(place)
    for pack in intake.packs:
        files.move(pack.path, place / pack.name)
        pack.close()
    return came


def nothing_is_here(commit: ObjectId) -> bool:
    """What a new repository has of a commit."""
    return False


def _settings(
    remote: Remote, base: ObjectId, settings: ObjectId, arrived: Arrived
) -> tuple[str, Config]:
    """Settings of a base, as they came. Raises ``RemoteDamaged``."""
    try:
        text = settings_in(arrived, settings)
        config = parse(text)
    except (EditvcError, ValueError) as cause:
        raise RemoteDamaged(remote.url, f"has no settings to begin with: {cause}") from cause
    if config.base.id != base:
        raise RemoteDamaged(remote.url, "says of two base models that it is about them")
    return text, config


def _put_refs(
    session: Session,
    origin: Origin,
    document: Document,
    head: str | None,
    came: tuple[ObjectId, ...],
) -> None:
    """Refs of the origin as they are there, and HEAD's branch with its commit."""
    plumbing, words = session.repository, f"clone: from {origin.url}"
    remembered: dict[str, ObjectId] = {}
    for name in origin.sections:
        remembered |= tracking(name, document.refs)
    tags = {ref: commit for ref, commit in document.refs.items() if ref.startswith(TAGS)}
    with plumbing.index.transaction():
        index_objects(plumbing, came)
        follow(session, {**remembered, **tags}, words)
        if head is not None:
            follow(session, {BRANCHES + head: document.refs[BRANCHES + head]}, words)
        if head not in (None, FIRST_BRANCH):
            line = ReflogEntry(HEAD, None, None, session.author(), session.clock(), words)
            plumbing.refs.point_head(f"{SYMBOLIC}{BRANCHES}{head}", line)


def _told(
    session: Session, folder: Path, url: str, document: Document, came: tuple[ObjectId, ...]
) -> Cloned:
    plumbing = session.repository
    head = plumbing.refs.head()
    return Cloned(
        folder,
        url,
        plumbing.config_file.base().model,
        head.branch,
        head.commit,
        sum(plumbing.index.commit(one) is not None for one in came),
        sum(pack.size for pack in document.packs),
    )
