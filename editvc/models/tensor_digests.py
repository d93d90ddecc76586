"""The digest of every tensor of a checkpoint, taken once for as long as its files stay as they are.

A file is known again by path, size, inode, and the times of its last change in nanoseconds. In the
same pass, every floating-point number is looked at: a weight that is none spoils all that is
computed with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from editvc.core.ids import canonical_json, digest_of
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.models.checkpoint import Checkpoint, Info, Shard

KIND = "digests"
"""What a memory keeps these under."""

_EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000),
              "F64": ("<u8", 0x7FF0000000000000)}  # fmt: skip
"""By storage type: how to read its numbers as integers, and the bits that are all ones in a NaN or
an infinity and in nothing else."""


class NotFiniteError(EditvcError):
    """A weight that holds a NaN or an infinity. ``tensor`` is its name in the file ``path``."""

    def __init__(self, path: Path, tensor: str) -> None:
        super().__init__(
            f"{path}: tensor {tensor} holds a number that is none (NaN or infinite)",
            hint="A training run that diverged or a damaged download leaves such weights; fetch "
            "the model again, or take an earlier checkpoint.",
        )
        self.path = path
        self.tensor = tensor


class Memory(Protocol):
    """Where digests are kept from one command to the next; what it forgets is computed again."""

    def get(self, kind: str, name: str) -> bytes | None:
        """What is kept under a name."""

    def put(self, kind: str, name: str, data: bytes) -> None:
        """Keep ``data`` under a name."""


class ShortMemory:
    """A :class:`Memory` that lasts as long as the process: ``kept`` by kind and name."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def get(self, kind: str, name: str) -> bytes | None:
        """What is kept under a name."""
        return self.kept.get((kind, name))

    def put(self, kind: str, name: str, data: bytes) -> None:
        """Keep ``data`` under a name."""
        self.kept[kind, name] = data

    def pour(self, memory: Memory) -> None:
        """Hand all of it to another one."""
        for (kind, name), data in self.kept.items():
            memory.put(kind, name, data)


def tensor_digests(
    checkpoint: Checkpoint, memory: Memory | None = None, progress: Progress | None = None
) -> dict[str, str]:
    """:meth:`Checkpoint.digests`, taken anew only of files that ``memory`` does not know.

    Raises :class:`NotFiniteError` for a NaN or an infinity in any tensor that a model loads.
    """
    digests: dict[str, str] = {}
    for path in checkpoint.shards:
        digests |= _of_shard(checkpoint.shard(path), memory, progress)
    return {name: digests[name] for name in sorted(checkpoint.tensors)}


def _of_shard(shard: Shard, memory: Memory | None, progress: Progress | None) -> Mapping[str, str]:
    state = _state(shard.path)
    name = digest_of(state["path"])
    kept = _recalled(memory, name, state)
    if kept is not None:
        return kept
    digests: dict[str, str] = {}
    for done, tensor in enumerate(shard.infos, 1):
        digests[tensor] = _digest(shard, tensor)
        if progress is not None:
            progress("reading the base", done, len(shard.infos))
    # Of a file that is being written, nothing is known for longer than this.
    if memory is not None and _state(shard.path) == state:
        memory.put(KIND, name, canonical_json(state | {"tensors": digests}))
    return digests


def _state(path: Path) -> dict[str, Any]:
    """What tells a file from what it was: rewriting it changes one of these."""
    real = path.resolve()
    status = real.stat()
    return {
        "path": str(real).encode("utf-8", "surrogateescape").hex(),
        "size": status.st_size,
        "inode": status.st_ino,
        "modified": status.st_mtime_ns,
        "changed": status.st_ctime_ns,
    }


def _recalled(
    memory: Memory | None, name: str, state: Mapping[str, Any]
) -> Mapping[str, str] | None:
    data = memory.get(KIND, name) if memory is not None else None
    if data is None:
        return None
    record: dict[str, Any] = json.loads(data)
    tensors: dict[str, str] = record.pop("tensors")
    return tensors if record == state else None


def _digest(shard: Shard, tensor: str) -> str:
    """:meth:`Shard.digest`, with a look at the numbers that pass."""
    import numpy

    info = shard.infos[tensor]
    digest = hashlib.sha256(canonical_json([info.dtype, info.shape]))
    kind, ones = _EXPONENTS.get(info.dtype, ("", 0)) if is_loaded(tensor, info) else ("", 0)
    for chunk in shard.chunks(tensor):
        digest.update(chunk)
        if kind and bool(((numpy.frombuffer(chunk, kind) & ones) == ones).any()):
            raise NotFiniteError(shard.path, tensor)
    return digest.hexdigest()


def is_loaded(tensor: str, info: Info) -> bool:
    """Whether a model reads a stored tensor: older files hold masks and angles, made anew."""
    mask = tensor.endswith((".attn.bias", ".attention.bias")) and len(info.shape) > 2
    return not (mask or tensor.endswith((".masked_bias", ".rotary_emb.inv_freq")))
