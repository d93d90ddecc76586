"""``verify``: base and ledger are these weights, tensor by tensor, or what is not explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.history import Tree
from editvc.core.ids import ObjectId, object_id
from editvc.core.progress import Progress
from editvc.core.trust import Trust
from editvc.interchange.expected_weights import ExpectedWeights, Finding
from editvc.interchange.hf_checkpoint import CONFIG, changes_of, files_to_copy
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK, MANIFEST, SIGNATURE
from editvc.interchange.replacing import Replacing
from editvc.interchange.widening import Widening
from editvc.models.checkpoint import Checkpoint, weights_digest
from editvc.models.source import resolve
from editvc.models.tensor_digests import tensor_digests
from editvc.porcelain.export_hf import with_room
from editvc.porcelain.locked_set import locked_otherwise
from editvc.publish.lock import Lock
from editvc.publish.model_signature import check_signature
from editvc.publish.stated import Stated, read_stated
from editvc.session.session import Session
from editvc.session.trees import tree_at
from editvc.vcs.codec import encode
from editvc.vcs.repository import NotARepository, folder_at

NOT_REBUILT = (
    "that the base and the listed edits give these weights: this takes the repository "
    "(run it there, or name it with --repo), or the edits beside the weights (`editvc rebuild`)"
)
SELF_STATED = (
    f"that the digests themselves are genuine: {MANIFEST} and {LOCK} lie beside the weights, and "
    "whoever changes these can change those"
)
DOCUMENTS = frozenset({MANIFEST, LEDGER, LOCK, BUNDLE, SIGNATURE, "README.md"})


@dataclass(frozen=True, slots=True)
class Verification:
    """What was proven of a model.

    ``tree`` is the id of the tree that it was compared with, and ``edits`` how many that has;
    ``None`` where there was none. ``tensors`` were looked at, whose digest is ``digest`` (``None``
    where no weights could be read as a whole model). ``findings`` is what base and edits do not
    explain, ``unproven`` what could not be looked into, in words. ``signed``: a signature by the
    key that was given holds of all files; ``None`` where no key was given.
    """

    source: str
    tree: ObjectId | None
    edits: int | None
    tensors: int
    digest: str | None
    findings: tuple[Finding, ...]
    unproven: tuple[str, ...] = ()
    signed: bool | None = None

    @property
    def explained(self) -> bool:
        """Whether all of it was proven."""
        return not self.findings and not self.unproven

    def to_json(self) -> dict[str, Any]:
        """The contract of ``verify --json``."""
        return {
            "source": self.source,
            "explained": self.explained,
            "tree": self.tree,
            "edits": self.edits,
            "tensors": self.tensors,
            "digest": self.digest,
            "findings": [one.to_json() for one in self.findings],
            "unproven": list(self.unproven),
            "signed": self.signed,
        }


def in_repository(folder: Path, trust: Trust | None = None) -> bool:
    """Whether a folder, or one above it, holds a repository; raises for one of a stranger."""
    try:
        folder_at(folder, trust)
    except NotARepository:
        return False
    return True


def verify(
    session: Session, source: str, *, revision: str | None = None, key: Path | None = None
) -> Verification:
    """Compare the model in ``source``, a folder or a Hub id, with what its tree gives.

    The tree is that of ``revision``, else the one that the lock file names, else HEAD's. Where the
    repository does not hold it, or the export is no whole model, only digests are compared
    (:func:`verify_by_digests`). ``key`` is the public key of whoever is to have signed it. Raises
    what ``check_base`` raises for the base, and ``KeyUnusable``.
    """
    stated = read_stated(_folder_of(source))
    if stated.format not in (None, "hf"):
        return verify_by_digests(source, session.progress, key)
    plumbing = session.repository
    if revision is None and stated.lock is not None:
        named = ObjectId(stated.lock.tree)
        if not plumbing.store.contains(named):
            return verify_by_digests(source, session.progress, key)
        tree = plumbing.read_tree(named)
    else:
        tree = tree_at(session, revision or "HEAD")
    found = _rebuilt(session.scratch().over(tree.base), source, stated, tree)
    return found if key is None else _with_signature(found, stated.folder, key)


def verify_by_digests(
    source: str, progress: Progress | None = None, key: Path | None = None
) -> Verification:
    """What can be told of the model in ``source`` by the digests that lie beside it, and by a
    signature that is to be by the owner of ``key``.
    """
    folder = _folder_of(source)
    stated = read_stated(folder)
    findings = [*stated.findings, *stated.files_changed()]
    digests: dict[str, str] = {}
    if stated.format in (None, "hf"):
        digests = dict(tensor_digests(Checkpoint(folder), progress=progress))
        findings += stated.other_digests("digest", weights_digest(digests))
    unproven = [NOT_REBUILT]
    if stated.manifest or stated.lock:
        unproven.append(SELF_STATED)
    else:
        unproven.append(f"anything else: there is neither {MANIFEST} nor {LOCK}")
    found = Verification(
        source=source,
        tree=None,
        edits=None,
        tensors=len(digests),
        digest=weights_digest(digests) if digests else None,
        findings=tuple(findings),
        unproven=tuple(unproven),
    )
    return found if key is None else _with_signature(found, folder, key)


def _with_signature(found: Verification, folder: Path, key: Path) -> Verification:
    """And what a signature tells: where it holds, nobody but the key's owner made the digests."""
    wrong = tuple(check_signature(folder, key))
    unproven = tuple(one for one in found.unproven if wrong or one != SELF_STATED)
    return replace(found, findings=(*wrong, *found.findings), unproven=unproven, signed=not wrong)


def _rebuilt(session: Session, source: str, stated: Stated, tree: Tree) -> Verification:
    """Make the tree's weights, and compare them with those that are there."""
    maker, found = session.materialiser, Checkpoint(stated.folder)
    base = Checkpoint(maker.folder)
    mlps = _mlps(session, tree, base, found)
    changes = changes_of(maker.architecture, maker.delta(tree))
    expected = ExpectedWeights(base, changes, dict(mlps.parts) if mlps else {})
    digest = weights_digest(found.digests())
    of_base = weights_digest(tensor_digests(base, session.repository.cache, session.progress))
    shards = frozenset(path.name for path in found.shards)
    tree_id = object_id(encode(tree))
    findings = [
        *expected.unexplained(found, session.progress),
        *_files(base, found, mlps, stated),
        *stated.files_changed(shards | {path.name for path in _copied(base)}),
        *stated.findings,
        *stated.other_digests("digest", digest),
        *stated.other_digests("base_digest", of_base),
        *(_locked(session, stated.lock, tree) if stated.lock else ()),
    ]
    coded = len(maker.elements.in_codebooks(tree))
    return Verification(
        source=source,
        tree=tree_id,
        edits=sum(1 for _ in session.repository.edits_of(tree).entries()),
        tensors=len(found.tensors),
        digest=digest,
        findings=tuple(findings),
        unproven=(f"{coded} edits in codebooks: weights do not hold them",) if coded else (),
    )


def _mlps(
    session: Session, tree: Tree, base: Checkpoint, found: Checkpoint
) -> Widening | Replacing | None:
    """Where the neurons of gated edits are: beside the base's, or in their place if none is wider.

    No paper says which of the two an export was asked for, and the shapes do.
    """
    neurons = session.materialiser.neurons(tree)
    if not neurons:
        return None
    kept = all(
        base.info(name).shape == found.info(name).shape
        for name in base.tensors.keys() & found.tensors.keys()
    )
    return with_room(session, neurons, keep_width=kept)


def _copied(base: Checkpoint) -> list[Path]:
    """The files that an export has from its base; folders in it hold nothing that is loaded."""
    index = base.index.name if base.index else None
    return [path for path in files_to_copy(base)[0] if path.parent == Path() and path.name != index]


def _files(
    base: Checkpoint, found: Checkpoint, mlps: Widening | Replacing | None, stated: Stated
) -> Iterator[Finding]:
    """Config, tokenizer and the like: each as the base has it, and none that it has not."""
    copied = _copied(base)
    for relative in copied:
        data = (base.folder / relative).read_bytes()
        if mlps is not None and relative.name == CONFIG:
            data = mlps.config(data.decode()).encode()
        path = found.folder / relative
        if not path.is_file():
            yield Finding("file", relative.name, "the base has it, and it is not there")
        elif path.read_bytes() != data:
            yield Finding("file", relative.name, "is not the base's")
    known = {path.name for path in (*copied, *found.shards)} | DOCUMENTS | {*stated.files}
    if found.index:
        known.add(found.index.name)
    for path in sorted(found.folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name not in known:
            yield Finding("file", path.name, "was added: neither the base nor the export has it")


def _locked(session: Session, lock: Lock, tree: Tree) -> Iterator[Finding]:
    return (Finding("ledger", LOCK, problem) for problem in locked_otherwise(session, lock, tree))


def _folder_of(source: str) -> Path:
    """Where the export is; from the Hub all files of its top folder are fetched."""
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else resolve(source, files=["*"])
