"""An edited model as a folder that plain transformers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.core.output_path import TargetError
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.interchange.manifest import (
    BUNDLE,
    LEDGER,
    LOCK,
    MANIFEST,
    SIGNATURE,
    write_manifest,
)
from editvc.interchange.replacing import Replacing
from editvc.interchange.staging import Content, add_documents, staged
from editvc.interchange.widening import Part, Widening
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import (
    EDITABLE,
    FOREIGN_WEIGHTS,
    Checkpoint,
    Shard,
    TensorNotFound,
    weights_digest,
)
from editvc.models.devices import computed_by
from editvc.models.source import SHIPPED_BASE, SHIPPED_STATISTICS
from editvc.models.weights import plus

OTHER_WEIGHTS = (*FOREIGN_WEIGHTS, "*.safetensors", "*.safetensors.index.json")
"""Beside the shards themselves: weights that the edit does not reach."""
ADAPTERS = ("adapter_config.json",)
ABOUT_THE_BASE = (
    "readme*", "model_card*", "modelcard*", MANIFEST, LEDGER, LOCK, BUNDLE, SIGNATURE,
)  # fmt: skip
"""Documents that would say wrong things about the edited model."""

Change = Callable[[Tensor], Tensor]
"""From a weight as it lies in the file to the new weight: same shape, any floating dtype."""

CONFIG = "config.json"
Documents = Callable[["Exported"], Mapping[str, Content]]


class ExportError(EditvcError):
    """An edited tensor that cannot be written. ``tensor`` is its name in the checkpoint."""

    def __init__(self, tensor: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"tensor '{tensor}': {problem}", hint=hint)
        self.tensor = tensor


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made.

    ``base_digest`` and ``digest`` are one sha256 each over all weights, before and after
    (:func:`editvc.models.checkpoint.weights_digest`); ``touched`` are the tensors whose stored
    bytes differ from the base's. ``notes`` say what a user might miss in the folder.
    """

    path: Path
    base_digest: str
    digest: str
    touched: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": str(self.path),
            "base_digest": self.base_digest,
            "digest": self.digest,
            "touched": list(self.touched),
            "notes": list(self.notes),
        }


def changes_of(architecture: Architecture, delta: Delta) -> dict[str, Change]:
    """The changes of weights that a delta means, by tensor name, in the file's orientation.

    ``W' = W + left @ right`` in float64; Conv1D keeps down projections as (v, u), so the product
    is transposed there. The dense product of one weight exists only while that weight is written.
    """

    def change(part: Factored, transposed: bool) -> Change:
        def apply(weight: Tensor) -> Tensor:
            dense = part.dense()
            return plus(weight, dense.T if transposed else dense.reshape(weight.shape))

        return apply

    changes = {
        architecture.weight_name(layer): change(part, architecture.transposed)
        for layer, part in delta.layers.items()
        if part.rank > 0
    }
    others = {
        architecture.stored_name(name): change(part, False)
        for name, part in delta.weights.items()
        if part.rank > 0
    }
    return changes | others


def export_hf(
    base: Path,
    target: Path,
    changes: Mapping[str, Change],
    *,
    mlps: Widening | Replacing | None = None,
    origin: Mapping[str, str] | None = None,
    replace: bool = False,
    documents: Documents | None = None,
    check: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the edited model to ``target``, loadable by plain transformers.

    Configuration, tokenizer, chat templates, licence and code are copied byte for byte; only the
    shards with a changed tensor are rewritten, all other tensors verbatim, one tensor in memory at
    a time; ``origin`` (commit and tree) joins the metadata in their headers, of which digests of
    weights know nothing. ``mlps`` puts more neurons into MLPs, after the changes: where these get
    wider, their tensors have new shapes, and the config the new width. Weights in other formats,
    and documents about the base, stay behind, with a note. ``documents`` may add files (card, lock,
    ledger) once the digests are known; ``check`` is called on the finished folder before it takes
    its name, and what it raises cancels the export. ``progress`` counts tensors.

    Raises :class:`ExportError` for values that are not finite in the weight's dtype,
    :class:`~editvc.models.checkpoint.CheckpointError` for a base that cannot be read, and
    :class:`~editvc.core.output_path.TargetError` for a target in use.
    """
    report = progress or (lambda label, done, total: None)
    source = Checkpoint(base)
    by_tensor = by_stored_name(source, changes)
    if target.resolve() == source.folder.resolve():
        raise TargetError(target, "is the base model itself", hint="Name another folder.")
    files, notes = files_to_copy(source)
    with staged(target, replace=replace) as folder:
        for relative in files:
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / relative, folder / relative)
        parts = {} if mlps is None else dict(mlps.parts)
        _write_shards(source, folder, by_tensor, parts, origin, report)
        if mlps is not None:
            _write_width(source, folder, mlps)
            notes += (mlps.note,)
        before = _digests(source, "hashing the base", report)
        after = _digests(Checkpoint(folder), "hashing the export", report)
        touched = tuple(name for name in sorted(after) if after[name] != before[name])
        notes += tuple(
            f"{name} is unchanged: its delta is below the resolution of {source.info(name).dtype}"
            for name in sorted(by_tensor.keys() - set(touched))
        )
        result = Exported(target, weights_digest(before), weights_digest(after), touched, notes)
        record = {key: value for key, value in result.to_json().items() if key != "path"}
        record |= {"tensors": {name: after[name] for name in touched}, "computed": computed_by()}
        write_manifest(folder, "hf", record)
        add_documents(folder, documents(result) if documents else {})
        if check is not None:
            check(folder)
    return result


def planned_sizes(
    source: Checkpoint,
    changes: Mapping[str, Change],
    mlps: Widening | Replacing | None = None,
    origin: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """The files that :func:`export_hf` would write, with their bytes; without its documents."""
    sizes = {
        relative.as_posix(): (source.folder / relative).stat().st_size
        for relative in files_to_copy(source)[0]
    }
    if mlps is not None:
        text = (source.folder / CONFIG).read_text(encoding="utf-8")
        sizes[CONFIG] = len(mlps.config(text).encode())
    parts = {} if mlps is None else mlps.parts
    rewritten = by_stored_name(source, changes).keys() | parts.keys()
    for path in source.shards:
        shard = source.shard(path)
        shapes = {name: part.shape for name, part in parts.items() if name in shard.infos}
        record = None if rewritten.isdisjoint(shard.infos) else origin
        sizes[path.name] = shard.size_with(shapes, record)
    return sizes


def by_stored_name(source: Checkpoint, changes: Mapping[str, Change]) -> dict[str, Change]:
    """Changes by stored name; two names for one tensor would silently lose a change."""
    by_tensor: dict[str, Change] = {}
    for name, change in changes.items():
        stored = source.find(name)
        if stored in by_tensor:
            raise TensorNotFound(source.folder, name, f"{name!r} is {stored!r}, changed twice")
        dtype = source.info(stored).dtype
        if dtype not in EDITABLE:
            raise ExportError(
                stored,
                f"is stored as {dtype}, which cannot take an additive change",
                hint="Edit the unquantised model and quantise the export.",
            )
        by_tensor[stored] = change
    return by_tensor


def files_to_copy(source: Checkpoint) -> tuple[list[Path], tuple[str, ...]]:
    """Everything but the shards: what goes along (relative paths), and notes on what does not."""
    shards = {path.name for path in source.shards}
    copied: list[Path] = []
    weights: list[str] = []
    documents: list[str] = []
    for path in _visible_files(source.folder):
        relative = path.relative_to(source.folder)
        if str(relative) in {*shards, *SHIPPED_STATISTICS, SHIPPED_BASE}:
            continue
        if path == source.index:
            copied.append(relative)
        elif _matches(path.name, (*OTHER_WEIGHTS, *ADAPTERS)):
            weights.append(str(relative))
        elif len(relative.parts) == 1 and _matches(path.name, ABOUT_THE_BASE):
            documents.append(str(relative))
        else:
            copied.append(relative)
    notes: tuple[str, ...] = ()
    if weights:
        notes += (f"not copied, they hold unedited weights: {', '.join(weights)}",)
    if documents:
        notes += (f"not copied, they describe the base: {', '.join(documents)}",)
    return copied, notes


def _visible_files(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders in name order, without hidden ones (.git, .cache)."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _visible_files(path)
        else:
            yield path


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def _write_width(source: Checkpoint, folder: Path, mlps: Widening | Replacing) -> None:
    """The width in the copied config, and the size of all tensors in the copied index."""
    text = (source.folder / CONFIG).read_text(encoding="utf-8")
    (folder / CONFIG).write_text(mlps.config(text), encoding="utf-8")
    if source.index is not None:
        written, index = Checkpoint(folder), folder / source.index.name
        spans = (span for path in written.shards for span in written.shard(path).spans.values())
        record = json.loads(index.read_text(encoding="utf-8"))
        record.setdefault("metadata", {})["total_size"] = sum(end - start for start, end in spans)
        index.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_shards(
    source: Checkpoint,
    folder: Path,
    by_tensor: Mapping[str, Change],
    wider: Mapping[str, Part],
    origin: Mapping[str, str] | None,
    report: Progress,
) -> None:
    done, total = 0, len(source.tensors)
    for path in source.shards:
        shard = source.shard(path)
        if (by_tensor.keys() | wider.keys()).isdisjoint(shard.infos):
            shutil.copyfile(path, folder / path.name)
            done += len(shard.infos)
            report("writing", done, total)
            continue
        with (folder / path.name).open("wb") as out:
            shapes = {name: part.shape for name, part in wider.items() if name in shard.infos}
            out.write(shard.header_with(shapes, origin))
            for name in shard.spans:
                if name in by_tensor or name in wider:
                    weight = source.read(name)
                    if name in by_tensor:
                        weight = changed(name, weight, by_tensor[name])
                    _write_tensor(out, name, wider[name](weight) if name in wider else weight)
                else:
                    _copy_tensor(out, shard, name)
                done += 1
                report("writing", done, total)


def _copy_tensor(out: BinaryIO, shard: Shard, name: str) -> None:
    for chunk in shard.chunks(name):
        out.write(chunk)


def changed(name: str, weight: Tensor, change: Change) -> Tensor:
    """The changed weight, in the dtype of the file."""
    try:
        result = change(weight)
    except RuntimeError as error:
        raise ExportError(
            name,
            f"of shape {tuple(weight.shape)} does not take this change ({error})",
            hint="The delta was made for another model.",
        ) from error
    if result.shape != weight.shape:
        raise ExportError(
            name,
            f"has shape {tuple(weight.shape)}, the change makes it {tuple(result.shape)}",
            hint="The delta was made for another model.",
        )
    return result.to(weight.dtype)


def _write_tensor(out: BinaryIO, name: str, stored: Tensor) -> None:
    """A weight in the dtype and layout that the header announces."""
    if not bool(torch.isfinite(stored).all()):
        raise ExportError(
            name,
            f"is not finite as {str(stored.dtype).removeprefix('torch.')} after the edit",
            hint="`editvc health` names the edits that are out of range; revert or compact them.",
        )
    flat: Any = stored.contiguous().reshape(-1).view(torch.uint8).numpy()
    out.write(memoryview(flat))


def _digests(checkpoint: Checkpoint, label: str, report: Progress) -> dict[str, str]:
    digests: dict[str, str] = {}
    for name in sorted(checkpoint.tensors):
        digests[name] = checkpoint.digest(name)
        report(label, len(digests), len(checkpoint.tensors))
    return digests
