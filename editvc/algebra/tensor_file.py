"""The one envelope of what is stored as numbers: tensors by name, and a record of what they are.

Equal tensors with equal records have equal bytes. See :mod:`editvc.core.tensor_header`, which reads
the record where no tensors are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from editvc.core.tensor_header import TensorHeaderError, metadata_of, read_record
from editvc.errors import DamageError

Damage = Callable[[str], DamageError]
"""Makes the error of one kind of file out of what is wrong with its bytes."""

_UNLOADABLE = (SafetensorError, KeyError)
"""What safetensors raises for bytes that are no such file, and for a dtype that torch lacks."""


def pack(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> bytes:
    """A safetensors file of tensors on the CPU, with a JSON record as its metadata."""
    data: bytes = save(_contiguous(tensors), metadata=metadata_of(record))
    return data


def unpack(
    data: bytes, kind: str | None, damage: Damage
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of :func:`pack`: tensors (views of one buffer, on the CPU) and the record.

    Raises ``damage`` for other bytes, and where the record is of another ``kind``; ``None`` takes
    any, with or without one.
    """
    tensors = unpack_tensors(data, damage)
    try:
        record = read_record(data)
    except TensorHeaderError as error:
        raise damage(str(error)) from error
    if kind is not None and record.get("kind") != kind:
        raise damage(f"its kind is {record.get('kind')!r}, not {kind!r}")
    return tensors, record


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file without a record, as a cache holds it: its path says what it is."""
    data: bytes = save(_contiguous(tensors))
    return data


def unpack_tensors(data: bytes, damage: Damage) -> dict[str, Tensor]:
    """The tensors of any safetensors file. Raises ``damage`` for other bytes."""
    try:
        tensors: dict[str, Tensor] = load(data)
    except _UNLOADABLE as error:
        raise damage(str(error)) from error
    return tensors


def layer_tensor(layer: int, part: str) -> str:
    """The name of one layer's tensor: ``layer.3.key``."""
    return f"layer.{layer}.{part}"


def by_part(tensors: Mapping[str, Tensor]) -> dict[str, dict[int, Tensor]]:
    """Tensors named as :func:`layer_tensor` has it, by part and, rising, by layer.

    Raises ``ValueError`` for other names.
    """
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        _, layer, part = name.split(".")
        parts.setdefault(part, {})[int(layer)] = tensor
    return {part: dict(sorted(layers.items())) for part, layers in parts.items()}


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
