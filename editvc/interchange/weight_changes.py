"""What two checkpoints differ in, tensor by tensor: how much, and in how many directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.factored import rank_for
from editvc.core.progress import Progress
from editvc.models.checkpoint import Checkpoint, Info

ENERGY = 0.99
"""The effective rank of a change is how many singular values hold this share of its square."""


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that is not the base's.

    ``kind`` is "added", "removed", "dtype", "shape" or "weights"; ``base`` and ``stored`` say how
    it is kept in the base and in the model, like ``F32 [32, 128]``. Of floating numbers in one
    shape, ``rank`` is the effective rank of the change (of a vector 1, of none at all 0), ``full``
    what it could be at most, and ``norm`` the Frobenius norm of the change by the base's.
    """

    tensor: str
    kind: str
    base: str | None
    stored: str | None
    rank: int | None = None
    full: int | None = None
    norm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``audit --json``."""
        return asdict(self)


def weight_changes(
    base: Checkpoint, model: Checkpoint, progress: Progress | None = None
) -> Iterator[TensorChange]:
    """Every tensor of ``model`` that differs from ``base``, or is in one of them alone.

    By their stored names. One tensor of each checkpoint is in memory at a time.
    """
    names = sorted(base.tensors.keys() | model.tensors.keys())
    for done, name in enumerate(names, 1):
        change = _change(base, model, name)
        if change is not None:
            yield change
        if progress is not None:
            progress("comparing", done, len(names))


def _change(base: Checkpoint, model: Checkpoint, name: str) -> TensorChange | None:
    old = base.info(name) if name in base.tensors else None
    new = model.info(name) if name in model.tensors else None
    if old is None or new is None:
        return TensorChange(name, "removed" if new is None else "added", _told(old), _told(new))
    if old == new and base.digest(name) == model.digest(name):
        return None
    kind = "weights"
    if old.shape != new.shape:
        return TensorChange(name, "shape", _told(old), _told(new))
    if old.dtype != new.dtype:
        kind = "dtype"
    before, after = base.read(name), model.read(name)
    if not (before.is_floating_point() and after.is_floating_point()):
        return TensorChange(name, kind, _told(old), _told(new))
    before = before.double()
    apart = after.double() - before
    norm = float(torch.linalg.vector_norm(apart) / torch.linalg.vector_norm(before))
    rank, full = effective_rank(apart)
    return TensorChange(name, kind, _told(old), _told(new), rank, full, norm)


def effective_rank(change: Tensor) -> tuple[int, int]:
    """The effective rank of a (rows, ...) float64 change, and the largest that it could have.

    From the smaller Gram matrix: many times faster than an SVD, and exact enough for a share.
    """
    if not bool(change.any()):
        return 0, 1
    if change.ndim < 2:
        return 1, 1
    matrix = change.reshape(len(change), -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    if not bool(torch.isfinite(matrix).all()):
        return len(matrix), len(matrix)
    values = torch.linalg.eigvalsh(matrix @ matrix.T).flip(0).clamp(min=0).sqrt()
    return rank_for(values, energy=ENERGY), len(matrix)


def _told(info: Info | None) -> str | None:
    return None if info is None else f"{info.dtype} {list(info.shape)}"
