"""What a tensor file says about itself, read without its tensors.

A tensor file is safetensors': eight bytes of length (little-endian), as many bytes of JSON, the
header, and then the numbers. In the header of every one that editvc writes, ``__metadata__`` has
one key, and under it canonical JSON: the *record*, with the ``kind`` of the file and its origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editvc.core.ids import canonical_json
from editvc.core.plain_json import JsonError, read_json

METADATA = "__metadata__"
"""Where a header has what is no tensor: safetensors' own name for it."""

METADATA_KEY = "editvc"
"""One key alone: with several the bytes would differ from process to process."""

LENGTH = 8
"""Bytes before the header, which say how long it is."""

HEADER_LIMIT = 100_000_000
"""Bytes: as safetensors has it. What claims a longer header is no tensor file."""


class TensorHeaderError(ValueError):
    """Bytes without a header, or a header without a record. The message lacks its subject, which a
    caller knows: "has no 'editvc' metadata".
    """


def is_tensor_file(data: bytes) -> bool:
    """Whether a whole header stands at the beginning; not whether it is sound."""
    # JSON cannot pass for it: its first eight bytes, as a length, are far past any file's end.
    length = int.from_bytes(data[:LENGTH], "little")
    begins = data[LENGTH : LENGTH + 1] == b"{"
    return begins and length <= min(HEADER_LIMIT, len(data) - LENGTH)


def metadata_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The ``__metadata__`` that a record is written as: equal records have equal bytes."""
    return {METADATA_KEY: canonical_json(record).decode()}


def read_record(data: bytes) -> dict[str, Any]:
    """The record of a tensor file, which may be cut after its header.

    Raises :class:`TensorHeaderError`, whatever the bytes are.
    """
    if not is_tensor_file(data):
        raise TensorHeaderError("is no safetensors file")
    length = int.from_bytes(data[:LENGTH], "little")
    metadata = _parsed(data[LENGTH : LENGTH + length]).get(METADATA)
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise TensorHeaderError(f"has no '{METADATA_KEY}' metadata")
    return _parsed(text)


def read_head(path: Path) -> bytes:
    """A file up to the end of its header, for :func:`read_record`."""
    with path.open("rb") as file:
        prefix = file.read(LENGTH)
        return prefix + file.read(min(HEADER_LIMIT, int.from_bytes(prefix, "little")))


def _parsed(text: bytes | str) -> dict[str, Any]:
    try:
        record = read_json(text)
    except JsonError as cause:
        raise TensorHeaderError("is neither JSON nor safetensors") from cause
    if not isinstance(record, dict):
        raise TensorHeaderError("does not say what kind of object it is")
    return record
