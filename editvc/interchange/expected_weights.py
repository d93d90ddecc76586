"""The weights that an export of a base has to have, and what a checkpoint has in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from editvc.core.progress import Progress
from editvc.interchange.hf_checkpoint import Change, by_stored_name, changed
from editvc.interchange.widening import Part
from editvc.models.checkpoint import Checkpoint, Info


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that base and edits do not explain.

    ``kind`` says what ``name`` is a name of, and what is wrong with it: a tensor "added",
    "removed", of another "dtype" or "shape", with other "weights"; a "file"; the "ledger"; or a
    file by its "signature".
    """

    kind: str
    name: str
    problem: str

    def to_json(self) -> dict[str, Any]:
        """For ``verify --json``."""
        return asdict(self)


class ExpectedWeights:
    """The tensors of ``base`` with ``changes`` in them, and more neurons by ``parts``.

    Made one at a time, when they are asked for, as
    :func:`editvc.interchange.hf_checkpoint.export_hf` writes them.
    """

    def __init__(
        self, base: Checkpoint, changes: Mapping[str, Change], parts: Mapping[str, Part]
    ) -> None:
        self.base = base
        self._changes = by_stored_name(base, changes)
        self._parts = parts

    @property
    def edited(self) -> set[str]:
        """Names of the tensors that an edit is in."""
        return {*self._changes, *self._parts}

    def info(self, name: str) -> Info:
        """How a tensor has to be stored."""
        stored = self.base.info(name)
        return Info(stored.dtype, self._parts[name].shape) if name in self._parts else stored

    def read(self, name: str) -> Tensor:
        """A tensor as it has to be, in the file's dtype and layout."""
        weight = self.base.read(name)
        if name in self._changes:
            weight = changed(name, weight, self._changes[name])
        return self._parts[name](weight) if name in self._parts else weight

    def unexplained(self, found: Checkpoint, progress: Progress | None = None) -> Iterator[Finding]:
        """What in ``found`` is otherwise, tensor by tensor; two tensors are in memory at a time."""
        for done, name in enumerate(sorted(self.base.tensors), 1):
            finding = self._of_tensor(found, name)
            if finding is not None:
                yield finding
            if progress is not None:
                progress("comparing", done, len(self.base.tensors))
        for name in sorted(found.tensors.keys() - self.base.tensors.keys()):
            info = found.info(name)
            yield Finding("added", name, f"{_stored(info)}; the base has no such tensor")

    def _of_tensor(self, found: Checkpoint, name: str) -> Finding | None:
        if name not in found.tensors:
            return Finding("removed", name, "the base has it, and it is not there")
        here, there = self.info(name), found.info(name)
        if here.dtype != there.dtype:
            return Finding("dtype", name, f"is stored as {there.dtype}, not as {here.dtype}")
        if here.shape != there.shape:
            return Finding("shape", name, f"is {_stored(there)}, not {_stored(here)}")
        edited = name in self.edited
        if not edited and found.digest(name) == self.base.digest(name):
            return None
        told = _told(self.read(name), found.read(name))
        if told is None:
            return None
        where = "an edited tensor" if edited else "a tensor that no edit is in"
        return Finding("weights", name, f"{told}, in {where}")


def _stored(info: Info) -> str:
    return f"{info.dtype} {list(info.shape)}"


def _told(expected: Tensor, found: Tensor) -> str | None:
    """How far two tensors of one dtype and shape are from each other; ``None`` for equal bits."""
    size = expected.element_size()
    apart = numpy.bitwise_xor(_bytes(expected), _bytes(found))
    other = apart.reshape(-1, size).any(axis=1)
    numbers = int(other.sum())
    if not numbers:
        return None
    if numbers == 1:
        bits = int(numpy.unpackbits(apart[apart != 0]).sum())
        count = f"{bits} bit{'s' if bits > 1 else ''} of number {int(other.argmax())}"
        verb = "differ" if bits > 1 else "differs"
    else:
        count, verb = f"{numbers} of {expected.numel()} numbers", "differ"
    if not expected.is_floating_point():
        return f"{count} {verb}"
    norm = torch.linalg.vector_norm
    distance = float(norm(found.double() - expected.double()) / norm(expected.double()))
    return f"{count} {verb}, relative norm {distance:.3g}"


def _bytes(tensor: Tensor) -> Any:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
