"""``clone``: a new repository with all that a remote holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.porcelain.base_model import move_base
from editvc.session.new_folder import template_folder
from editvc.session.remotes import FIRST, follow, index_objects, tracking
from editvc.session.session import Session
from editvc.vcs import codec
from editvc.vcs.config_file import Config, parse
from editvc.vcs.files import Fault, Files, unique
from editvc.vcs.reachable import config_links
from editvc.vcs.refs import BRANCHES, HEAD, SYMBOLIC, TAGS, BranchUnknown, ReflogEntry
from editvc.vcs.remote_sections import TIMEOUT, RemoteSection, check_remote_name, with_remotes
from editvc.vcs.remotes.connect import connect, lasting
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document
from editvc.vcs.remotes.intake import Arrived, Intake
from editvc.vcs.remotes.shared_settings import settings_in
from editvc.vcs.remotes.transport import RemoteDamaged
from editvc.vcs.repository import FIRST_BRANCH, FOLDER, Repository, RepositoryExists
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


def clone(
    url: str,
    path: Path,
    *,
    name: str = FIRST,
    branch: str | None = None,
    timeout: float = TIMEOUT,
    base: str | None = None,
    clock: Callable[[], int],
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda text: None,
    fault: Fault | None = None,
) -> Cloned:
    """Make ``path/.editvc`` of all that a remote holds, whole or not at all.

    The remote is called ``name`` there, and HEAD is on ``branch``, or where the remote says. With
    ``base`` the base model is loaded from there, if it is the very one. Raises
    ``RepositoryExists``, ``BranchUnknown``, ``RemoteUnreached``, ``RemoteDamaged``, ``PackRefused``
    and what ``check_base`` raises.
    """
    check_remote_name(name)
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
    section = RemoteSection(lasting(url), timeout)
    remote = Remote(connect(section.url), timeout=timeout, progress=progress)
    document = remote.require()
    head = _head(document, branch)
    new, files = not path.exists(), Files(fault)
    path.mkdir(parents=True, exist_ok=True)
    draft = path / f"{FOLDER}.tmp-{unique()}"
    try:
        came = _create(draft, remote, document, {name: section}, files)
        with closing(Repository(draft / FOLDER, fault)) as plumbing:
            session = Session(plumbing, clock=clock, progress=progress, remark=remark)
            _put_refs(session, name, document, head, came)
            if base is not None:
                move_base(session, base)
            cloned = _told(session, path / FOLDER, remote.url, document, came)
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
    sections: dict[str, RemoteSection],
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
    session: Session, name: str, document: Document, head: str | None, came: tuple[ObjectId, ...]
) -> None:
    """Refs of the remote as they are there, and HEAD's branch with its commit."""
    plumbing, words = (
        session.repository,
        f"clone: from {session.repository.config.remotes[name].url}",
    )
    tags = {ref: commit for ref, commit in document.refs.items() if ref.startswith(TAGS)}
    with plumbing.index.transaction():
        index_objects(plumbing, came)
        follow(session, {**tracking(name, document.refs), **tags}, words)
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
