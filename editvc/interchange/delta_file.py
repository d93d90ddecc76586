"""The low-rank change alone as a folder. Writing one imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.tensor_header import read_record
from editvc.interchange.manifest import write_manifest
from editvc.interchange.staging import Content, add_documents, staged
from editvc.models.checkpoint import Shard

if TYPE_CHECKING:
    from editvc.algebra.delta import Delta

DELTA = "delta.safetensors"


def export_delta(
    target: Path,
    data: bytes,
    *,
    replace: bool = False,
    documents: Callable[[dict[str, int]], Mapping[str, Content]] | None = None,
) -> dict[str, int]:
    """Write the change alone: ``delta.safetensors`` and its manifest. Returns the rank by weight.

    A weight goes by the number of its layer (a down projection) or by its name. ``data`` is what
    :func:`editvc.algebra.delta.delta_to_bytes` makes, two float32 factors a weight; its metadata
    (base, tree ...) goes into the manifest. ``documents`` may add files (card, lock, ledger) once
    the ranks are known. Needs no model. :func:`read_delta` is the inverse.
    """
    with staged(target, replace=replace) as folder:
        (folder / DELTA).write_bytes(data)
        shard = Shard.open(folder / DELTA)
        ranks = {
            name.removesuffix(".left").partition(".")[2]: info.shape[1]
            for name, info in shard.infos.items()
            if name.endswith(".left")
        }
        ranks = {name: ranks[name] for name in sorted(ranks, key=_layers_first)}
        write_manifest(folder, "delta", {"ranks": ranks} | read_record(data))
        add_documents(folder, documents(ranks) if documents else {})
    return ranks


def _layers_first(name: str) -> tuple[bool, int, str]:
    return (False, int(name), "") if name.isdecimal() else (True, 0, name)


def read_delta(folder: Path) -> tuple[Delta, dict[str, Any]]:
    """The delta and metadata of a folder that :func:`export_delta` wrote."""
    from editvc.algebra.delta import delta_from_bytes

    return delta_from_bytes((folder / DELTA).read_bytes())
