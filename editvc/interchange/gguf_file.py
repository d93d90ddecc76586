"""A model folder as one GGUF file: anew, or as another GGUF file has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from editvc.core.progress import Progress
from editvc.interchange.gguf_layout import FEED_FORWARD, GgufLayout, GgufRefused, MissingGguf
from editvc.interchange.gguf_tokenizer import add_tokenizer
from editvc.models.checkpoint import Checkpoint
from editvc.models.source import read_config

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""What tensors can be written as: the types that the gguf package encodes, and llama.cpp reads."""

_FINE = ("token_embd.weight", "output.weight")
"""Tensors that keep 8 bits where others have fewer, as llama.cpp's own quantiser has it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tensor of the file: its name, its type, and its bytes as rows, made when they are due."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray[Any, Any]]


def write_gguf(
    folder: Path, path: Path, *, type: str | None, name: str, progress: Progress | None = None
) -> tuple[str, ...]:
    """Write a model folder to ``path``; matrices as ``type``, or in the dtype that they have.

    Vectors are float32. Returns the matrices that could not be of that type, for the length of
    their rows, and are F16. Raises :class:`GgufRefused`, :class:`MissingGguf`.
    """
    config = read_config(folder, str(folder))
    layout = GgufLayout(config)
    from gguf import GGUFValueType, GGUFWriter, LlamaFileType

    checkpoint = Checkpoint(folder)
    codes = (checkpoint.info(stored) for stored in checkpoint.tensors)
    own = next(code for code, shape in codes if len(shape) > 1)
    kind = type or (own if own in TYPES else "F32")
    plan = list(_plan(layout, checkpoint, kind))
    writer = GGUFWriter(path, layout.family)
    writer.add_type("model")
    writer.add_name(name)
    for key, number in layout.numbers.items():
        kind_of = GGUFValueType.UINT32 if isinstance(number, int) else GGUFValueType.FLOAT32
        writer.add_key_value(f"{layout.family}.{key}", number, kind_of)
    file_type = "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"
    writer.add_file_type(LlamaFileType[file_type])
    writer.add_quantization_version(2)
    add_tokenizer(writer, folder, int(config["vocab_size"]))
    _write(writer, plan, progress)
    return tuple(one.name for one in plan if one.type.name == "F16" != kind)


def write_like(
    base: Path,
    folder: Path,
    path: Path,
    *,
    unedited: Path,
    touched: Collection[str],
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write ``folder`` as the file ``base`` is written, of which ``unedited`` was unpacked.

    The tensors that are ``touched``, by their names in the folder, are encoded anew, each in its
    own type, and in these the blocks in which no number changed stay as they are; the rest is
    copied byte for byte. Returns the names of those that were encoded.
    """
    config = read_config(folder, str(folder))
    layout = GgufLayout(config)
    from gguf import GGUFWriter

    reader = open_gguf(base)
    checkpoint, before = Checkpoint(folder), Checkpoint(unedited)
    names = {name: stored for stored in touched if (name := layout.name(stored))}
    writer = GGUFWriter(path, layout.family)
    _copy_fields(reader, writer, {f"{layout.family}.{FEED_FORWARD}": layout.numbers[FEED_FORWARD]})
    plan = []
    for one in reader.tensors:
        stored = names.get(one.name)
        if stored is None:
            shape = tuple(int(n) for n in reversed(one.shape))
            plan.append(Encoded(one.name, one.tensor_type, shape, partial(getattr, one, "data")))
            continue
        _require_encodable(one.name, one.tensor_type.name)

        def make(one: Any = one, stored: str = stored) -> np.ndarray[Any, Any]:
            new = layout.laid(stored, checkpoint.read(stored))
            old = layout.laid(stored, before.read(stored))
            return _kept(one.data, old, new, one.tensor_type)

        shape = tuple(layout.laid(stored, checkpoint.read(stored)).shape)
        plan.append(Encoded(one.name, one.tensor_type, shape, make))
    _write(writer, plan, progress)
    return tuple(sorted(names))


def open_gguf(path: Path) -> GGUFReader:
    """The file at ``path``, mapped. Raises :class:`GgufRefused` for one that is none."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingGguf from error
    try:
        return GGUFReader(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise GgufRefused(f"{path} is no GGUF file that can be read ({error})") from error


def _plan(layout: GgufLayout, checkpoint: Checkpoint, kind: str) -> Iterator[Encoded]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    for stored in checkpoint.tensors:
        name = layout.name(stored)
        if name is None:
            continue
        shape = tuple(layout.laid(stored, torch.empty(checkpoint.info(stored).shape)).shape)
        own = "Q8_0" if name in _FINE and kind.startswith(("Q4", "Q5")) else kind
        if len(shape) == 1 or "norm" in name or name == "position_embd.weight":
            own = "F32"
        elif shape[-1] % GGML_QUANT_SIZES[GGMLQuantizationType[own]][0]:
            own = "F16"
        type = GGMLQuantizationType[own]

        def make(stored: str = stored, type: Any = type) -> np.ndarray[Any, Any]:
            return _encoded(layout.laid(stored, checkpoint.read(stored)), type)

        yield Encoded(name, type, shape, make)


def _encoded(tensor: Tensor, type: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    from gguf import quantize

    made: np.ndarray[Any, Any] = quantize(tensor.float().contiguous().numpy(), type)
    return made


def _kept(
    data: np.ndarray[Any, Any], old: Tensor, new: Tensor, type: GGMLQuantizationType
) -> np.ndarray[Any, Any]:
    """``new`` encoded, but for blocks that are as they were: rounding twice may change those."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[type]
    made = _encoded(new, type).view(np.uint8)
    rows, columns = old.shape[0], old.shape[-1] // block
    same = (new[:rows, : columns * block] == old).reshape(rows, columns, block).all(-1).numpy()
    blocks = made.reshape(made.shape[0], -1, size)
    kept = data.view(np.uint8).reshape(rows, columns, size)
    blocks[:rows, :columns][same] = kept[same]
    return blocks.reshape(made.shape)


def _require_encodable(name: str, type: str) -> None:
    if type not in TYPES:
        raise GgufRefused(
            f"tensor '{name}' is changed, and the gguf package reads {type} but cannot write it",
            hint="`editvc export --format gguf --quantize Q8_0` writes the whole model anew.",
        )


def _copy_fields(reader: GGUFReader, writer: GGUFWriter, other: Mapping[str, Any]) -> None:
    from gguf import GGUFValueType

    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        within = field.types[-1] if kind == GGUFValueType.ARRAY else None
        value = other.get(field.name, None)
        writer.add_key_value(
            field.name, field.contents() if value is None else value, kind, sub_type=within
        )


def _write(writer: GGUFWriter, plan: list[Encoded], progress: Progress | None) -> None:
    """Header, fields and tensors, one of which is in memory at a time."""
    from gguf import GGML_QUANT_SIZES

    for one in plan:
        block, size = GGML_QUANT_SIZES[one.type]
        count = math.prod(one.shape) // block * size
        writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), count, raw_dtype=one.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, one in enumerate(plan, 1):
        writer.write_tensor_data(one.make())
        if progress is not None:
            progress("writing", done, len(plan))
    writer.close()
