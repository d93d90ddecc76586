"""A published model: where its papers are, and whether the base here is the one that it is of."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from editvc.core.ids import ObjectId, short
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.interchange.manifest import BUNDLE, LEDGER, LIMIT, LOCK, MANIFEST
from editvc.models.fingerprint import BaseMismatchError, describe, identify
from editvc.models.source import ModelNotFoundError, open_model
from editvc.porcelain.base_model import move_base
from editvc.porcelain.locked_set import locked_otherwise
from editvc.publish.lock import LARGEST, Lock, read_lock
from editvc.session.session import Session
from editvc.vcs.remotes.bundle_file import BundleFile
from editvc.vcs.remotes.connect import scheme_of
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import LARGEST_PACK
from editvc.vcs.remotes.hub_repository import HubRepository
from editvc.vcs.remotes.shared_settings import HUB_ID
from editvc.vcs.remotes.transport import DOCUMENT, FileMissing

PAPERS = {LOCK: LARGEST, BUNDLE: LARGEST_PACK, LEDGER: LARGEST, MANIFEST: LIMIT}
"""What is fetched from the Hub, without the weights, and how many bytes it has at most."""


class NotPublished(EditvcError):
    """There is no published model where one was named, or none that can be made again."""

    def __init__(self, source: str, problem: str, *, hint: str) -> None:
        super().__init__(f"{source}: {problem}", hint=hint)
        self.source = source


class OtherSet(EditvcError):
    """The lock file of a published model and the set that came with it are not of one set."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(
            f"{source}: {LOCK} {problem}: it is not of the set in {BUNDLE}",
            hint="Nothing was made of it. Fetch both files again; where it stays so, they were "
            "changed since, and whoever published the model should publish it again.",
        )
        self.source = source


class OtherBase(EditvcError):
    """The model at ``base`` is not the one that a published model was made from."""

    def __init__(self, source: str, base: str, part: str, ours: ObjectId, theirs: ObjectId) -> None:
        super().__init__(
            f"{base} is not the base that {source} was made from: {part}; its identity is "
            f"{short(ours)}, that of the base {short(theirs)}",
            hint=f"--base MODEL says where that one is, a folder or a Hub id; {LOCK} names it.",
            details={"identity": ours, "expected": theirs},
        )
        self.source = source
        self.part = part


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published model as it was named by ``source``, with its papers in ``folder``.

    ``lock`` was read from ``lock_file``. From the Hub no weights have come.
    """

    source: str
    folder: Path
    lock_file: Path
    lock: Lock

    @property
    def bundle(self) -> Path:
        """The file that holds its set."""
        return self.folder / BUNDLE

    @property
    def remote(self) -> Remote:
        """The same, read as any remote."""
        return Remote(BundleFile(self.bundle))


def is_published(url: str) -> bool:
    """Whether an address that may also be a remote's means a published model.

    A folder that is both is a remote; a name like ``user/repo`` is one of the Hub where no such
    folder is.
    """
    if scheme_of(url) != "file":
        return False
    path = Path(url.removeprefix("file://")).expanduser()
    if path.is_dir():
        return (path / LOCK).exists() and not (path / DOCUMENT).exists()
    return path.name == LOCK if os.path.lexists(path) else _on_hub(url)


@contextmanager
def opened_model(
    source: str, *, timeout: float, progress: Progress | None = None
) -> Iterator[PublishedModel]:
    """A published model: its folder, its lock file, or its name on the Hub.

    What is fetched from there is gone at the end. Raises :class:`NotPublished`, ``LockError`` and
    what remotes raise.
    """
    path = Path(source).expanduser()
    if os.path.lexists(path):
        folder, lock = (path, path / LOCK) if path.is_dir() else (path.parent, path)
        yield _read(source, folder, lock)
        return
    if not _on_hub(source):
        raise NotPublished(
            source,
            "there is no such file or folder",
            hint=f"Name the folder of a published model, its {LOCK}, or USER/NAME of the Hub.",
        )
    remote = Remote(HubRepository(f"hf://{source}"), timeout=timeout, progress=progress)
    with tempfile.TemporaryDirectory(prefix="editvc-papers-") as fetched:
        folder = Path(fetched)
        for name, most in PAPERS.items():
            with suppress(FileMissing):
                remote.copy(name, folder / name, most)
        yield _read(source, folder, folder / LOCK)


def require_base(session: Session, model: PublishedModel, base: str | None) -> None:
    """Load the base from ``base``, or from where it was published to be, if it is the very one.

    Raises :class:`OtherBase`, and ``ModelNotFoundError`` that tells of ``--base``.
    """
    try:
        if base is not None:
            move_base(session, base)
        else:
            session.require_base()
    except ModelNotFoundError as error:
        hint = f"--base MODEL says where the base of {model.source} is on this machine."
        raise ModelNotFoundError(error.source, error.problem, hint=hint) from error
    except BaseMismatchError as error:
        named = base or session.repository.read_base().source
        files, expected = open_model(named), session.repository.read_identity()
        cache = session.repository.cache
        ours, theirs = (
            (identify(files, cache).id, expected.id)
            if expected is not None
            else (describe(files, cache).id, model.lock.base.id)
        )
        raise OtherBase(model.source, named, error.what, ours, theirs) from error


def require_locked(session: Session, model: PublishedModel) -> None:
    """Raise :class:`OtherSet` unless HEAD is the set that the lock file lists."""
    plumbing = session.repository
    tree = plumbing.tree_of(plumbing.refs.head().commit)
    for problem in locked_otherwise(session, model.lock, tree):
        raise OtherSet(model.source, problem)


def _read(source: str, folder: Path, lock: Path) -> PublishedModel:
    if not lock.exists():
        raise NotPublished(
            source,
            f"there is no {lock.name}",
            hint="Only what `editvc publish` made can be made again.",
        )
    found = PublishedModel(source, folder, lock, read_lock(lock))
    if not found.bundle.exists():
        raise NotPublished(
            source,
            f"there is no {BUNDLE} beside {lock.name}, so the edits themselves are not here",
            hint="It was published with --no-bundle, or by an editvc that wrote none. Ask for it "
            "to be published again, or locate the facts of the lock file anew: "
            "docs/formats.md, To make it again.",
        )
    return found


def _on_hub(source: str) -> bool:
    return HUB_ID.fullmatch(source) is not None and "/" in source
