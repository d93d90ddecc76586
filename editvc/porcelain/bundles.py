"""``bundle``: a remote in one file, for where no network is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.porcelain.fetch import has
from editvc.session.remotes import require_same_base
from editvc.session.session import Session
from editvc.vcs.refs import BRANCHES, TAGS
from editvc.vcs.remotes.bundle_file import MAGIC, BundleFile, write_bundle
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document
from editvc.vcs.remotes.intake import Intake
from editvc.vcs.remotes.outgoing import Missing, first_document, with_pack


class NothingToBundle(EditvcError):
    """No branch and no tag, or none of the name given."""


class BundleInTheWay(EditvcError):
    """What is at the path of a new bundle is no bundle."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is there, and no bundle", hint="Name another file, or take it away."
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds: refs, the commits that whoever fetches must have, and its bytes."""

    path: Path
    refs: tuple[tuple[str, ObjectId], ...]
    needs: tuple[ObjectId, ...]
    size: int

    def to_json(self) -> dict[str, Any]:
        """For ``bundle --json``."""
        return {
            "path": str(self.path),
            "refs": dict(self.refs),
            "needs": list(self.needs),
            "bytes": self.size,
        }


def create_bundle(
    session: Session, path: Path, names: Sequence[str] = (), *, without: Sequence[str] = ()
) -> Bundle:
    """Write branches and tags, by default all of them, and what they stand on, to a file.

    What is behind the revisions ``without`` is left out: whoever fetches has that. Raises
    :class:`NothingToBundle`, :class:`BundleInTheWay`.
    """
    document, missing = _planned(session, path, names, without)
    with missing.packed() as pack:
        sent = [pack.file] if pack is not None else []
        write_bundle(path, with_pack(document, {}, pack), sent, session.repository.files)
    return Bundle(path, tuple(document.refs.items()), document.needs, path.stat().st_size)


def preview_bundle(
    session: Session, path: Path, names: Sequence[str] = (), *, without: Sequence[str] = ()
) -> Bundle:
    """What :func:`create_bundle` would write; nothing is."""
    document, missing = _planned(session.scratch(), path, names, without)
    return Bundle(path, tuple(document.refs.items()), document.needs, missing.measure())


def verify_bundle(session: Session, path: Path) -> Bundle:
    """Read a bundle to its last byte, and see that it could be fetched here; nothing is kept.

    Raises what ``fetch`` raises.
    """
    plumbing = session.repository
    remote = Remote(BundleFile(path), progress=session.progress)
    document = remote.require()
    require_same_base(session, remote, document)
    intake = Intake.of(remote, plumbing.store, plumbing.files)
    with intake.kept_not():
        intake.take(document.packs)
        intake.check(document, (), lambda commit: has(plumbing, commit))
    return Bundle(path, tuple(document.refs.items()), document.needs, path.stat().st_size)


def _planned(
    session: Session, path: Path, names: Sequence[str], without: Sequence[str]
) -> tuple[Document, Missing]:
    """The document of a bundle, without packs, and what is to be in it.

    Whoever has the commits ``without`` has the base and settings of their own.
    """
    if path.exists() and not _is_bundle(path):
        raise BundleInTheWay(path)
    plumbing = session.repository
    refs = plumbing.refs.all()
    there = {ref: one for ref, one in refs.items() if ref.startswith((BRANCHES, TAGS))}
    if names:
        wanted = {_named(there, name) for name in names}
        there = {ref: commit for ref, commit in there.items() if ref in wanted}
    if not there:
        raise NothingToBundle("there is no branch and no tag with a commit yet")
    needs = tuple(plumbing.revisions.commit(one) for one in without)
    document, links = first_document(plumbing)
    missing = Missing.of(plumbing, there.values(), needs, links=links if not needs else ())
    return replace(document, refs=there, needs=needs), missing


def _named(there: dict[str, ObjectId], name: str) -> str:
    for ref in (TAGS + name, BRANCHES + name):
        if ref in there:
            return ref
    raise NothingToBundle(
        f"no branch and no tag is named '{name}'", hint="See `editvc branch` and `editvc tag`."
    )


def _is_bundle(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC
