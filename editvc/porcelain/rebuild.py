"""``rebuild``: the weights of a published model made again from base and edits, and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId, short
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.interchange.expected_weights import Finding
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK, MANIFEST, read_manifest
from editvc.interchange.staging import Content, recover
from editvc.porcelain.clone import clone_model
from editvc.porcelain.export import export
from editvc.porcelain.export_hf import write_model
from editvc.porcelain.published_model import PublishedModel, opened_model, require_base
from editvc.porcelain.verify import verify
from editvc.publish.stated import Stated, read_stated
from editvc.session.session import Session
from editvc.vcs.remote_sections import TIMEOUT
from editvc.vcs.repository import FOLDER, Repository

FORMATS = ("hf", "lora", "delta")
"""What ``publish`` makes."""


class UnknownFormat(EditvcError):
    """A lock file of an export that this editvc cannot make."""

    def __init__(self, source: str, format: Any) -> None:
        super().__init__(
            f"{source}: {LOCK} is of the format {str(format)[:40]!a}, which this editvc does not "
            f"rebuild",
            hint="Formats: " + ", ".join(FORMATS) + ". A newer editvc may know it.",
        )


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came out of base and edits, and whether it is what was published.

    ``digest`` is over the weights made here, ``published`` what the lock file says. ``findings``
    name what differs, in the weights beside the lock file, where there are any, and in the papers.
    ``path`` is where the export is; ``None`` where it was only compared. ``computed`` and
    ``computed_there`` say by what the weights were solved, here and by who published, as far as
    that is known.
    """

    source: str
    path: Path | None
    format: str
    tree: ObjectId
    edits: int
    base: str
    digest: str
    published: str
    findings: tuple[Finding, ...]
    computed: Mapping[str, Any]
    computed_there: Mapping[str, Any]

    @property
    def same(self) -> bool:
        """Whether all is as it was published, bit for bit."""
        return self.digest == self.published and not self.findings

    def to_json(self) -> dict[str, Any]:
        """The contract of ``rebuild --json``."""
        return {
            "source": self.source,
            "same": self.same,
            "path": str(self.path) if self.path else None,
            "format": self.format,
            "tree": self.tree,
            "edits": self.edits,
            "base": self.base,
            "digest": self.digest,
            "published": self.published,
            "findings": [one.to_json() for one in self.findings],
            "computed": dict(self.computed),
            "computed_there": dict(self.computed_there),
        }


def rebuild(
    source: str,
    target: Path | None = None,
    *,
    base: str | None = None,
    replace: bool = False,
    timeout: float = TIMEOUT,
    clock: Callable[[], int],
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda text: None,
) -> Rebuilt:
    """Make the weights of a published model from its set, and compare them with the published.

    ``source`` is its folder, its lock file, or its name on the Hub; weights that lie in a folder
    are compared tensor by tensor. With ``target`` the export is kept there, beside the papers of
    the published one where it is the same. ``base`` is where the base is on this machine. Raises
    what :func:`editvc.porcelain.clone.clone_model` raises.
    """
    opened = partial(Session, clock=clock, progress=progress, remark=remark)
    with (
        opened_model(source, timeout=timeout, progress=progress) as model,
        tempfile.TemporaryDirectory(prefix="editvc-rebuild-") as scratch,
    ):
        if model.lock.export.get("format") not in FORMATS:
            raise UnknownFormat(source, model.lock.export.get("format"))
        place = Path(scratch) / "repository"
        clone_model(model, place, opened, base=base)
        with closing(Repository(place / FOLDER)) as plumbing:
            session = opened(plumbing)
            require_base(session, model, base)
            return _made(session, model, target, Path(scratch) / "model", replace)


def _made(
    session: Session, model: PublishedModel, target: Path | None, scratch: Path, replace: bool
) -> Rebuilt:
    stated = read_stated(model.folder)
    published = str(model.lock.export.get("digest"))
    out = target or scratch
    for told in recover(out):
        session.remark(told)
    base_digest, digest = _written(session, model, stated, out, replace)
    manifest = read_manifest(out) or {}
    findings = [*stated.findings, *_other_base(model, base_digest)]
    if any(model.folder.glob("*.safetensors")):
        found = verify(session, str(model.folder)).findings
        findings += [one for one in found if one not in findings]
    elif digest != published:
        findings += _tensors(manifest, stated.manifest)
    return Rebuilt(
        source=model.source,
        path=target,
        format=str(model.lock.export["format"]),
        tree=ObjectId(model.lock.tree),
        edits=len(model.lock.edits),
        base=session.files.source,
        digest=digest,
        published=published,
        findings=tuple(findings),
        computed=_texts(manifest.get("computed")),
        computed_there=_texts(stated.manifest.get("computed")),
    )


def _written(
    session: Session, model: PublishedModel, stated: Stated, out: Path, replace: bool
) -> tuple[str | None, str]:
    """Write the export; returns the digests of the base and of the result.

    It gets the papers of the published one where it is that.
    """

    def papers(digest: str) -> Mapping[str, Content]:
        if digest != model.lock.export.get("digest"):
            return {}
        ledger = {} if stated.findings else {LEDGER: model.folder / LEDGER}
        return {LOCK: model.lock_file, BUNDLE: model.bundle} | ledger

    tree = session.repository.tree_of(session.repository.refs.head().commit)
    if model.lock.export["format"] == "hf":
        whole = write_model(session, out, tree, lambda done: papers(done.digest), replace=replace)
        return whole.base_digest, whole.digest
    done = export(
        session,
        out,
        format=str(model.lock.export["format"]),
        replace=replace,
        documents=lambda _base, digest, _touched: papers(digest),
    )
    return done.base_digest, done.digest


def _other_base(model: PublishedModel, digest: str | None) -> Iterator[Finding]:
    """The same model may lie in other tensors: with its head stored once more, say."""
    stated = model.lock.export.get("base_digest")
    if digest is not None and digest != stated:
        problem = f"its weights are stored as {short(digest)}, and were as {short(str(stated))}"
        yield Finding("base", model.lock.base.source, problem)


def _tensors(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Finding]:
    """Edited tensors that differ, as far as the manifests list their digests."""
    ours, theirs = _texts(here.get("tensors")), _texts(there.get("tensors"))
    for name in sorted(ours.keys() | theirs.keys()) if theirs else ():
        if ours.get(name) != theirs.get(name):
            problem = f"is not the one that {MANIFEST} lists; how far, its weights would tell"
            yield Finding("weights", name, problem)


def _texts(value: Any) -> dict[str, Any]:
    """A flat mapping of a manifest from anywhere; empty where it is none."""
    if not isinstance(value, dict):
        return {}
    return {key: one for key, one in value.items() if isinstance(one, str | int)}
