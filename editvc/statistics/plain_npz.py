"""NumPy's archives from anywhere: arrays of numbers, no larger than what is there."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

SMALL, MOST_PACKED = 1 << 26, 100
"""An array of more than so many bytes is at most so many times as large as it lies in the file."""


def require_plain_arrays(path: Path, names: Iterable[str]) -> None:
    """Raise unless there are arrays of these names, of numbers, as many as there are bytes for.

    Looks at their headers alone. ``ValueError`` is for arrays that are none; what an archive that
    is none, is cut short, or is locked raises, is zipfile's own.
    """
    with zipfile.ZipFile(path) as archive:
        for name in names:
            info = archive.getinfo(f"{name}.npy")
            if info.file_size > max(SMALL, MOST_PACKED * info.compress_size):
                raise ValueError(f"{name} is packed more tightly than numbers are")
            with archive.open(info) as file:
                shape, dtype = _header(file)
                size = file.tell() + prod(shape) * dtype.itemsize
            if dtype.kind not in "iuf" or size != info.file_size:
                raise ValueError(f"{name} is no array of numbers of the size that it says")


def _header(file: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of the array that begins here."""
    from numpy.lib import format

    version = format.read_magic(file)
    read = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of NumPy's format is not read")
    try:
        shape, _, dtype = read(file)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as cause:
        raise ValueError(f"an array's header says nothing: {cause}") from cause
    return shape, dtype
