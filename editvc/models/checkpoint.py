"""A model's weights on disk, tensor by tensor, without loading the model.

The header of a safetensors file says where the bytes of each tensor lie, so digests and verbatim
copies stream through a small buffer, and reading one tensor costs the memory of that tensor.
Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from editvc.core.ids import canonical_json, digest_of
from editvc.core.plain_json import read_json
from editvc.core.tensor_header import METADATA, metadata_of
from editvc.errors import EditvcError

if TYPE_CHECKING:
    from torch import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BUFFER = 1 << 22
"""Bytes that a digest or a copy holds at a time."""

EDITABLE = {"F16", "BF16", "F32", "F64"}
"""Storage types, by safetensors' codes, that a change can be added to."""

FOREIGN_WEIGHTS = (
    "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.h5", "*.msgpack",
    "*.gguf", "*.onnx", "*.onnx_data", "*.ot", "*.tflite", "*.mlmodel",
)  # fmt: skip
"""File names of weights in formats that editvc neither reads nor rewrites."""


class CheckpointError(EditvcError):
    """A folder or file that does not hold the weights it should. ``path`` is the culprit."""

    def __init__(self, path: Path, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path
        self.problem = problem


class TensorNotFound(CheckpointError):
    """A tensor that no file of the checkpoint holds, or that several could be meant by."""

    def __init__(self, path: Path, tensor: str, problem: str, *, hint: str = "") -> None:
        super().__init__(path, problem, hint=hint)
        self.tensor = tensor


class Info(NamedTuple):
    """How a tensor is stored: safetensors' dtype code (``F16``, ``BF16``) and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file: its header, verbatim, and where each tensor's bytes lie.

    ``spans`` maps a name to its first and last byte (exclusive) in the file, in file order.
    """

    path: Path
    header: bytes
    infos: Mapping[str, Info]
    spans: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Read the header of ``path``; safetensors itself validates it against the file's length.

        Raises :class:`CheckpointError` for a file that is missing, cut short or damaged.
        """
        if not _is_file(path):
            raise CheckpointError(
                path, "the shard is missing", hint="Download the model again, or copy it here."
            )
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                path,
                f"not a readable safetensors file ({error})",
                hint="The download was probably cut short; fetch the file again.",
            ) from error
        with path.open("rb") as file:
            prefix = file.read(8)
            header = prefix + file.read(struct.unpack("<Q", prefix)[0])
        records: dict[str, Any] = json.loads(header[8:])
        metadata = records.pop(METADATA, None) or {}
        ordered = sorted(records.items(), key=lambda item: tuple(item[1]["data_offsets"]))
        start = len(header)
        return cls(
            path=path,
            header=header,
            infos={name: Info(r["dtype"], tuple(r["shape"])) for name, r in ordered},
            spans={
                name: (start + r["data_offsets"][0], start + r["data_offsets"][1])
                for name, r in ordered
            },
            metadata=metadata,
        )

    def header_with(
        self, shapes: Mapping[str, tuple[int, ...]], record: Mapping[str, Any] | None = None
    ) -> bytes:
        """The header of the same tensors in the same order, some of them in other shapes.

        A ``record`` of what they are joins the metadata under its one key. Verbatim where there is
        neither.
        """
        if not shapes and record is None:
            return self.header
        metadata = dict(self.metadata)
        if record is not None:
            # transformers refuses metadata that does not say for which framework a file was made.
            metadata = {"format": "pt"} | metadata | metadata_of(record)
        infos = {
            name: Info(info.dtype, shapes.get(name, info.shape))
            for name, info in self.infos.items()
        }
        return header_of(infos, self._sizes(shapes), metadata)

    def size_with(
        self, shapes: Mapping[str, tuple[int, ...]], record: Mapping[str, Any] | None = None
    ) -> int:
        """The bytes of the file with :meth:`header_with` the same, and what that announces."""
        return len(self.header_with(shapes, record)) + sum(self._sizes(shapes).values())

    def _sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        sizes = {}
        for name, info in self.infos.items():
            first, last = self.spans[name]
            shape = shapes.get(name, info.shape)
            sizes[name] = (last - first) // max(1, prod(info.shape)) * prod(shape)
        return sizes

    def chunks(self, name: str) -> Iterator[bytes]:
        """The raw bytes of one tensor, at most :data:`BUFFER` at a time."""
        start, end = self.spans[name]
        with self.path.open("rb") as file:
            file.seek(start)
            while start < end:
                chunk = file.read(min(BUFFER, end - start))
                if not chunk:
                    raise CheckpointError(self.path, f"ends in the middle of tensor {name!r}")
                start += len(chunk)
                yield chunk

    def digest(self, name: str) -> str:
        """sha256 over dtype, shape and raw bytes of one tensor, in hex."""
        info = self.infos[name]
        digest = hashlib.sha256(canonical_json([info.dtype, info.shape]))
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()


def header_of(
    infos: Mapping[str, Info], sizes: Mapping[str, int], metadata: Mapping[str, str]
) -> bytes:
    """A header of tensors that lie side by side in this order, ``sizes`` being their bytes."""
    records: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    start = 0
    for name, (dtype, shape) in infos.items():
        end = start + sizes[name]
        records[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(records, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns what follows
    return struct.pack("<Q", len(text)) + text


class Checkpoint:
    """The safetensors weights of a model folder: one file, or shards with their index.

    ``tensors`` maps every stored name to its shard's path, ``shards`` lists the files in order.
    As transformers does, ``model.safetensors`` wins over an index beside it. Headers are read at
    once, so that a missing or damaged shard is known before any work is done.

    Every method that takes a tensor name takes the names a module would use, too (:meth:`find`).
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if (self.folder / SINGLE).is_file():
            self.index: Path | None = None
            opened = [Shard.open(self.folder / SINGLE)]
            self.tensors = {name: opened[0].path for name in opened[0].infos}
        elif (self.folder / INDEX).is_file():
            self.index = self.folder / INDEX
            self.tensors = _weight_map(self.index)
            opened = [Shard.open(path) for path in sorted(set(self.tensors.values()))]
        else:
            raise _no_weights(self.folder)
        self._opened = {shard.path: shard for shard in opened}
        for name, path in self.tensors.items():
            if name not in self._opened[path].infos:
                raise TensorNotFound(
                    path, name, f"the index promises tensor {name!r} here, but the shard lacks it"
                )
        self._aliases = {
            alias: kept
            for shard in opened
            for alias, kept in shard.metadata.items()
            if kept in shard.infos and alias not in self.tensors
        }

    @property
    def shards(self) -> tuple[Path, ...]:
        """The weight files, sorted by name."""
        return tuple(self._opened)

    def shard(self, path: Path) -> Shard:
        """The opened header of one of :attr:`shards`."""
        return self._opened[path]

    def find(self, name: str) -> str:
        """The stored name of the tensor that a module calls ``name``.

        Checkpoints may lack or add a leading prefix (``h.0.mlp...`` for
        ``transformer.h.0.mlp...``), and safetensors' ``save_model`` records a shared tensor under
        one of its names only. Raises :class:`TensorNotFound` where nothing, or more than one
        stored name, fits.
        """
        if name in self.tensors:
            return name
        if name in self._aliases:
            return self._aliases[name]
        fits = [
            stored
            for stored in self.tensors
            if name.endswith("." + stored) or stored.endswith("." + name)
        ]
        if len(fits) == 1:
            return fits[0]
        problem = (
            f"tensor {name!r} could be any of {sorted(fits)}" if fits else f"no tensor {name!r}"
        )
        raise TensorNotFound(
            self.folder,
            name,
            problem,
            hint="A tied head has no tensor of its own: ask for the embedding it is tied to."
            if name.endswith("lm_head.weight")
            else "Compare the architecture's module names with the names in the checkpoint.",
        )

    def info(self, name: str) -> Info:
        """The dtype code and shape of a tensor."""
        name = self.find(name)
        return self._opened[self.tensors[name]].infos[name]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The raw bytes of a tensor, streamed."""
        name = self.find(name)
        return self._opened[self.tensors[name]].chunks(name)

    def read(self, name: str) -> Tensor:
        """One tensor in the file's dtype and layout, on the CPU."""
        name = self.find(name)
        with safe_open(self.tensors[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def digest(self, name: str) -> str:
        """sha256 over dtype, shape and raw bytes, in hex; the same in whichever file it lies."""
        name = self.find(name)
        return self._opened[self.tensors[name]].digest(name)

    def digests(self) -> dict[str, str]:
        """The digest of every stored tensor, by name."""
        return {name: self.digest(name) for name in sorted(self.tensors)}


def _is_file(path: Path) -> bool:
    """Whether there is a regular file; no name that no file can have, too long, is one."""
    try:
        return path.is_file()
    except OSError:
        return False


def weights_digest(digests: Mapping[str, str]) -> str:
    """One sha256 for all weights, from the digests of the tensors; sharding does not change it."""
    return digest_of(dict(digests))


def _weight_map(index: Path) -> dict[str, Path]:
    """Tensor name to shard path, from an index that may not reach outside its own folder."""
    try:
        names: dict[str, str] = read_json(index.read_bytes())["weight_map"]
        entries = [(str(name), str(file)) for name, file in names.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(index, "not a safetensors index (no usable weight_map)") from error
    for name, file in entries:
        if Path(file).name != file:
            raise CheckpointError(index, f"tensor {name!r} lies outside the folder, in {file!r}")
    return {name: index.parent / file for name, file in entries}


def _no_weights(folder: Path) -> CheckpointError:
    """Why a folder without safetensors cannot be used, and what to do about it."""
    if not folder.is_dir():
        return CheckpointError(folder, "no such folder", hint="Name a folder that holds a model.")
    foreign = sorted(path.name for pattern in FOREIGN_WEIGHTS for path in folder.glob(pattern))
    if foreign:
        return CheckpointError(
            folder,
            f"holds weights only as {foreign[0]}; editvc reads safetensors, never pickle",
            hint="Convert it: load the model with transformers and call "
            "save_pretrained(folder); it writes safetensors.",
        )
    return CheckpointError(
        folder,
        f"holds neither {SINGLE} nor {INDEX}",
        hint="Name the folder that config.json and the *.safetensors files are in.",
    )
