"""``clone``: a new repository with all that a remote holds, or with a published model's set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from editvc.core.progress import Progress
from editvc.porcelain.base_model import move_base
from editvc.porcelain.published_model import (
    PublishedModel,
    is_published,
    opened_model,
    require_base,
    require_locked,
)
from editvc.session.new_clone import Cloned, Origin, make_clone
from editvc.session.remotes import FIRST
from editvc.session.session import Session
from editvc.vcs.files import Fault
from editvc.vcs.remote_sections import TIMEOUT, RemoteSection, check_remote_name
from editvc.vcs.remotes.connect import connect, lasting
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.repository import FOLDER, Repository, RepositoryExists


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
    """Make ``path/.editvc`` of all that a remote holds, whole or not at all; or of a published
    model (:func:`clone_model`), of which the folder, or the name on the Hub, is the ``url``.

    The remote is called ``name`` there, and HEAD is on ``branch``, or where the remote says. With
    ``base`` the base model is loaded from there, if it is the very one. Raises
    ``RepositoryExists``, ``BranchUnknown``, ``RemoteUnreached``, ``RemoteDamaged``, ``PackRefused``
    and what ``check_base`` raises.
    """
    check_remote_name(name)
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
    opened = partial(Session, clock=clock, progress=progress, remark=remark)
    if is_published(url):
        with opened_model(url, timeout=timeout, progress=progress) as model:
            return clone_model(model, path, opened, base=base, branch=branch, fault=fault)
    section = RemoteSection(lasting(url), timeout)
    remote = Remote(connect(section.url), timeout=timeout, progress=progress)
    origin = Origin(remote, remote.url, branch, {name: section})

    def finish(session: Session) -> None:
        if base is not None:
            move_base(session, base)

    return make_clone(origin, path, opened, finish, fault)


def clone_model(
    model: PublishedModel,
    path: Path,
    opened: Callable[[Repository], Session],
    *,
    base: str | None = None,
    branch: str | None = None,
    fault: Fault | None = None,
) -> Cloned:
    """Make ``path/.editvc``, which is not there, of a published model: its set, in one commit.

    It has no remote. ``opened`` makes sessions of repositories. Raises what :func:`clone` raises,
    ``OtherBase``, and ``OtherSet`` where the lock file is of another set.
    """

    def finish(session: Session) -> None:
        require_locked(session, model)
        if base is not None:
            require_base(session, model, base)

    return make_clone(Origin(model.remote, model.source, branch), path, opened, finish, fault)
