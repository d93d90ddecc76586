"""``export --dry-run`` and ``publish --dry-run``: what would be written, how large, how healthy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.history import Tree
from editvc.interchange.delta_file import DELTA
from editvc.interchange.hf_checkpoint import changes_of, files_to_copy, planned_sizes
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK, MANIFEST, SIGNATURE
from editvc.interchange.peft_writer import planned_sizes as adapter_sizes
from editvc.interchange.staging import require_free
from editvc.models.checkpoint import Checkpoint
from editvc.porcelain.export import require_exportable
from editvc.porcelain.export_gguf import ADAPTER, MODEL, MODELFILE
from editvc.porcelain.export_hf import with_room
from editvc.porcelain.export_result import origin_of
from editvc.porcelain.health import HealthReport, check_health
from editvc.porcelain.linear import linear_delta
from editvc.porcelain.publish import require_healthy
from editvc.publish.card import public_source
from editvc.publish.model_signature import signer
from editvc.session.delta_cache import delta_file
from editvc.session.session import Session
from editvc.session.trees import commit_at, tree_at

Sizes = dict[str, int | None]
"""Bytes by file name; ``None`` for what is known only once it is written."""

PAPERS = ("README.md", LEDGER, LOCK)
"""What a published model has besides an export."""


@dataclass(frozen=True, slots=True)
class ExportPreview:
    """What an export would write: ``files`` with their bytes, and what health says of the weights.

    Sizes are ``None`` where they are known only once a file is written: of papers, and of GGUF
    files. ``remarks`` are what a user should know.
    """

    kind: str
    place: str
    files: Mapping[str, int | None]
    verdict: str
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes of all files of which the size is known."""
        return sum(size or 0 for size in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """For ``--dry-run --json``."""
        return {
            "format": self.kind,
            "place": self.place,
            "files": dict(self.files),
            "bytes": self.size,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "remarks": list(self.remarks),
        }


def preview_export(
    session: Session,
    target: Path,
    *,
    format: str,
    revision: str = "HEAD",
    rank: int | None = None,
    replace: bool = False,
    linear: bool = False,
    keep_width: bool = False,
    quantize: str | None = None,
    measure_on: str | None = None,
) -> ExportPreview:
    """What :func:`editvc.porcelain.export.export` would write; refuses what that would."""
    tree = tree_at(session, revision)
    require_exportable(session, revision, format, linear, keep_width, quantize, measure_on)
    require_free(target, replace=replace)
    sizes = _sizes(session, tree, revision, format, rank, linear, keep_width, None)
    papers = ("README.md", MANIFEST) if format == "lora" else (MANIFEST,)
    return _preview(session, check_health(session, revision), format, str(target), sizes, papers)


def preview_publish(
    session: Session,
    repo_id: str,
    *,
    revision: str = "HEAD",
    format: str = "hf",
    force: bool = False,
    bundle: bool = True,
    sign: Path | None = None,
    password: str | None = None,
) -> ExportPreview:
    """What :func:`editvc.porcelain.publish.publish` would push; the Hub is not asked.

    Raises :class:`editvc.porcelain.publish.HealthRefused` where the gate would refuse.
    """
    if sign is not None:
        signer(sign, password)
    require_exportable(session, revision, format)
    health = require_healthy(session, revision, force=force)
    public = public_source(session.materialiser.base.source)
    tree = tree_at(session, revision)
    sizes = _sizes(session, tree, revision, format, None, False, False, public)
    asked = {BUNDLE: bundle, SIGNATURE: sign is not None}
    papers = (*PAPERS, MANIFEST, *(name for name, wanted in asked.items() if wanted))
    return _preview(session, health, format, repo_id, sizes, papers)


def _preview(
    session: Session,
    health: HealthReport,
    kind: str,
    place: str,
    sizes: Sizes,
    papers: tuple[str, ...],
) -> ExportPreview:
    remarks = files_to_copy(Checkpoint(session.materialiser.folder))[1] if kind == "hf" else ()
    files = sizes | dict.fromkeys(papers)
    return ExportPreview(kind, place, files, health.verdict, tuple(health.reasons), remarks)


def _sizes(
    session: Session,
    tree: Tree,
    revision: str,
    format: str,
    rank: int | None,
    linear: bool,
    keep_width: bool,
    public: str | None,
) -> Sizes:
    """The files of a format; what is published names its base by its ``public`` name."""
    maker = session.materialiser
    if format == "delta":
        return {DELTA: len(delta_file(session, tree))}
    if format in ("gguf", "gguf-lora"):
        return {MODEL if format == "gguf" else ADAPTER: None, MODELFILE: None}
    origin = origin_of(tree, commit_at(session, revision) if public is not None else None)
    if format == "lora":
        delta = linear_delta(session, tree) if linear else maker.delta(tree)
        return {
            **adapter_sizes(
                maker.architecture, delta, base=public or maker.base.source,
                revision=maker.base.revision, rank=rank, origin=origin,
            )
        }  # fmt: skip
    neurons = maker.neurons(tree)
    return {
        **planned_sizes(
            Checkpoint(maker.folder),
            changes_of(maker.architecture, maker.delta(tree)),
            with_room(session, neurons, keep_width) if neurons else None,
            origin,
        )
    }
