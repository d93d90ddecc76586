"""``import``: an adapter, or another checkpoint of the base, as a patch that stands for no fact."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from editvc.algebra.factored import DeltaError
from editvc.algebra.patch import Patch
from editvc.core.history import Tree
from editvc.core.ids import short
from editvc.core.invisible import require_visible, visible
from editvc.interchange.base_weights import Imported, ImportRefused
from editvc.interchange.checkpoint_difference import difference
from editvc.interchange.peft_reader import is_adapter, read_adapter
from editvc.session.changes import LivePatch, live_patch
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, advance
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class ImportPreview:
    """What a folder adds to the base.

    ``ranks`` of the factors and ``errors``, relative Frobenius errors, go by changed weight;
    ``error`` is that of all together.
    """

    kind: str
    source: str
    digest: str
    ranks: dict[str, int]
    errors: dict[str, float]
    error: float
    notes: tuple[str, ...]

    def summary(self) -> str:
        """In words."""
        return (
            f"{self.kind} {self.source}: {len(self.ranks)} weights changed, "
            f"rank {max(self.ranks.values())} at most, relative error {self.error:.3g}"
        )

    def to_json(self) -> dict[str, Any]:
        """The contract of ``import --dry-run --json``."""
        return asdict(self) | {"notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What ``import`` committed."""

    result: CommitResult
    patch: LivePatch
    preview: ImportPreview

    def to_json(self) -> dict[str, Any]:
        """The contract of ``import --json``."""
        return self.result.to_json() | self.preview.to_json() | {"patch": self.patch.id}


def import_patch(
    session: Session,
    source: Path,
    *,
    rank: int | None,
    energy: float | None,
    message: str | None,
    author: str,
) -> ImportResult:
    """Commit what a PEFT adapter or another checkpoint adds to the base, on HEAD.

    ``rank`` and ``energy`` say how much of a difference is kept; an adapter is taken whole.
    Raises :class:`ImportRefused`, and :class:`NothingToDo` where it changes nothing or is live.
    """
    require_visible(message=message)

    def attempt(tip: Tip) -> ImportResult:
        preview, data = _prepared(session, tip.tree, source, rank, energy)
        identifier = session.repository.store.put(data)
        done = advance(
            session,
            tip,
            replace(tip.tree, patches=(*tip.tree.patches, identifier)),
            message=message or f"Import {preview.kind} {visible(preview.source)}",
            author=author,
            verb="import",
        )
        return ImportResult(done, live_patch(session, identifier), preview)

    return on_branch(session, attempt)


def preview_import(
    session: Session, source: Path, *, rank: int | None, energy: float | None
) -> ImportPreview:
    """What :func:`import_patch` would take over, with nothing written."""
    tree = tip_of_head(session).tree
    return _prepared(session, tree, source, rank, energy)[0]


def _prepared(
    session: Session, tree: Tree, source: Path, rank: int | None, energy: float | None
) -> tuple[ImportPreview, bytes]:
    """What a folder brings, and the patch that would be stored for it."""
    imported = _read(session, tree, source, rank, energy)
    preview = _preview(session, source, imported)
    origin = {"kind": imported.kind, "source": preview.source, "digest": imported.digest}
    patch = Patch(imported.delta, {"error": imported.error})
    try:
        return preview, patch.to_bytes({"base": tree.base, "import": origin})
    except DeltaError as error:
        raise ImportRefused(source, str(error)) from error


def _preview(session: Session, source: Path, imported: Imported) -> ImportPreview:
    architecture = session.materialiser.architecture
    ranks = {architecture.weight_name(n): part.rank for n, part in imported.delta.layers.items()}
    ranks |= {name: part.rank for name, part in imported.delta.weights.items()}
    return ImportPreview(
        kind=imported.kind,
        source=source.resolve().name,
        digest=imported.digest,
        ranks=ranks,
        errors=dict(imported.errors),
        error=imported.error,
        notes=imported.notes,
    )


def _read(
    session: Session, tree: Tree, source: Path, rank: int | None, energy: float | None
) -> Imported:
    """What the folder holds, unless that is nothing new."""
    imported = _delta_of(session, source, rank, energy)
    if imported.delta.is_empty:
        raise NothingToDo(
            f"{source} changes nothing in the base",
            hint="A copy of the base, or an adapter that was not trained yet, is no edit.",
        )
    for live in (live_patch(session, one) for one in tree.patches):
        if live.digest == imported.digest:
            raise NothingToDo(
                f"{source} is imported already, as patch {short(live.id)}",
                hint="Revert the commit that brought it to import it in another way.",
            )
    return imported


def _delta_of(session: Session, source: Path, rank: int | None, energy: float | None) -> Imported:
    maker = session.materialiser
    if not is_adapter(source):
        return difference(
            source, maker.folder, maker.architecture,
            rank=rank, energy=energy, progress=session.progress,
        )  # fmt: skip
    if rank is not None or energy is not None:
        raise ImportRefused(
            source,
            "a rank or an energy cuts the difference of two checkpoints, and this is an adapter",
            hint="Import it whole; `editvc compact --rank R` cuts the down projections.",
        )
    return read_adapter(source, maker.folder, maker.architecture)
