"""The low-rank change alone as a folder. Writing one imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.editing.checkpoint import Shard
from editvc.publish.staging import add_documents, staged, write_manifest

if TYPE_CHECKING:
    from editvc.editing.delta import Delta

DELTA = "delta.safetensors"


def export_delta(
    target: Path,
    data: bytes,
    *,
    replace: bool = False,
    documents: Callable[[dict[int, int]], Mapping[str, str | bytes]] | None = None,
) -> dict[int, int]:
    """Write the change alone: ``delta.safetensors`` and its manifest. Returns the rank by layer.

    ``data`` is what :func:`editvc.editing.delta.delta_to_bytes` makes, two float32 factors a
    layer; its metadata (base, tree ...) goes into the manifest. ``documents`` may add files (card,
    lock, ledger) once the ranks are known. Needs no model. :func:`read_delta` is the inverse.
    """
    with staged(target, replace=replace) as folder:
        (folder / DELTA).write_bytes(data)
        shard = Shard.open(folder / DELTA)
        ranks = dict(
            sorted(
                (int(name.split(".")[1]), info.shape[1])
                for name, info in shard.infos.items()
                if name.endswith(".left")
            )
        )
        record = {"ranks": {str(layer): rank for layer, rank in ranks.items()}}
        write_manifest(folder, "delta", record | json.loads(shard.metadata["editvc"]))
        add_documents(folder, documents(ranks) if documents else {})
    return ranks


def read_delta(folder: Path) -> tuple[Delta, dict[str, Any]]:
    """The delta and metadata of a folder that :func:`export_delta` wrote."""
    from editvc.editing.delta import delta_from_bytes

    return delta_from_bytes((folder / DELTA).read_bytes())
