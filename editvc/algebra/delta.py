"""The change of a model: a matrix of low rank for every changed weight, and its stored form."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from editvc.algebra.factored import DeltaError, Factored
from editvc.algebra.tensor_file import pack, unpack
from editvc.errors import DamageError

Name = TypeVar("Name", int, str)
"""A layer's number, or a parameter's name."""

_TENSOR = re.compile(r"(layer\.(?:0|[1-9][0-9]*)|weight\..+)\.(left|right)")


class DeltaDamageError(DamageError):
    """Bytes that are no delta of editvc."""


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The change of a model: one :class:`Factored` per changed weight.

    ``layers`` are the MLP down projections that edits are made in, as (u, v). ``weights`` are any
    others, such as those of an imported adapter: by the name of the model's parameter, in the
    orientation in which the model keeps it, a vector of n numbers as (n, 1).
    """

    layers: Mapping[int, Factored] = field(default_factory=dict)
    weights: Mapping[str, Factored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", dict(sorted(self.layers.items())))
        object.__setattr__(self, "weights", dict(sorted(self.weights.items())))

    @property
    def parts(self) -> tuple[Factored, ...]:
        """The change of every weight, those of the layers first."""
        return (*self.layers.values(), *self.weights.values())

    @property
    def rank(self) -> int:
        """The largest rank of any weight; 0 without weights."""
        return max((part.rank for part in self.parts), default=0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed anywhere (every rank is 0)."""
        return self.rank == 0

    def norm(self) -> float:
        """Frobenius norm over all weights together."""
        return math.hypot(*(part.frobenius() for part in self.parts))

    def map(self, change: Callable[[int, Factored], Factored]) -> Delta:
        """A new delta with ``change(layer, factored)`` in every layer, and nowhere else."""
        layers = {layer: change(layer, part) for layer, part in self.layers.items()}
        return Delta(layers, self.weights)

    def each(self, change: Callable[[Factored], Factored]) -> Delta:
        """A new delta with ``change(factored)`` in every weight."""
        return Delta(
            {layer: change(part) for layer, part in self.layers.items()},
            {name: change(part) for name, part in self.weights.items()},
        )

    def __add__(self, other: Delta) -> Delta:
        """Weight by weight; one that only one of them has is taken as it is."""
        return Delta(_sum(self.layers, other.layers), _sum(self.weights, other.weights))

    @classmethod
    def sum(cls, deltas: Iterable[Delta]) -> Delta:
        """All of them, in the order given, as :meth:`Factored.sum` adds."""
        layers: dict[int, list[Factored]] = {}
        weights: dict[str, list[Factored]] = {}
        for delta in deltas:
            for layer, part in delta.layers.items():
                layers.setdefault(layer, []).append(part)
            for name, part in delta.weights.items():
                weights.setdefault(name, []).append(part)
        return cls(
            {layer: Factored.sum(parts) for layer, parts in layers.items()},
            {name: Factored.sum(parts) for name, parts in weights.items()},
        )

    def __neg__(self) -> Delta:
        """Every weight with its sign changed."""
        return self.each(Factored.__neg__)

    def __sub__(self, other: Delta) -> Delta:
        """Weight by weight."""
        return self + -other

    def compress(self, *, rank: int | None = None, energy: float | None = None) -> Delta:
        """Every weight cut as :meth:`Factored.compress` does."""
        return self.each(lambda part: part.compress(rank=rank, energy=energy))


def _sum(one: Mapping[Name, Factored], other: Mapping[Name, Factored]) -> dict[Name, Factored]:
    total = dict(one)
    for name, part in other.items():
        total[name] = total[name] + part if name in total else part
    return total


def delta_to_bytes(delta: Delta, record: dict[str, Any]) -> bytes:
    """A delta as safetensors bytes: ``layer.N.left`` (u, r) and ``layer.N.right`` (r, v), float32.

    Other weights are ``weight.NAME.left`` and ``weight.NAME.right``. That is 4 (u + v) bytes per
    weight and rank plus the header. Equal deltas and records have equal bytes. Raises
    :class:`DeltaError` where a value is not finite in float32.
    """
    tensors: dict[str, Tensor] = {}
    named = {f"layer.{layer}": part for layer, part in delta.layers.items()}
    named |= {f"weight.{name}": part for name, part in delta.weights.items()}
    for name, part in named.items():
        for side, factor in (("left", part.left), ("right", part.right)):
            stored = factor.to(torch.float32)
            if not bool(torch.isfinite(stored).all()):
                raise DeltaError(
                    f"the {side} factor of {name.replace('.', ' ', 1)} is not finite in float32",
                    hint="`editvc health` names the edit that is out of range.",
                )
            tensors[f"{name}.{side}"] = stored
    return pack(tensors, record)


def delta_from_bytes(data: bytes) -> tuple[Delta, dict[str, Any]]:
    """The inverse of :func:`delta_to_bytes`, in float64, with the record.

    Raises :class:`DeltaDamageError` for bytes that are no delta; its kind is a caller's.
    """
    tensors, record = unpack(data, None, _damage)
    if unknown := sorted(name for name in tensors if _TENSOR.fullmatch(name) is None):
        raise DeltaDamageError(f"a delta holds no tensors {unknown}", hint="Run `editvc fsck`.")
    # A copy even where the dtype fits: views into the buffer need not be aligned, and BLAS may
    # round differently for operands that are not.
    wide = {name: tensor.to(torch.float64, copy=True) for name, tensor in tensors.items()}
    names = {name.rpartition(".")[0] for name in wide}
    try:
        parts = {name: Factored(wide[f"{name}.left"], wide[f"{name}.right"]) for name in names}
    except (KeyError, DeltaError) as error:
        raise DeltaDamageError(
            f"the factors of a delta do not fit: {error}", hint="Run `editvc fsck`."
        ) from error
    split = {name: name.split(".", 1) for name in names}
    layers = {int(end): parts[name] for name, (kind, end) in split.items() if kind == "layer"}
    weights = {end: parts[name] for name, (kind, end) in split.items() if kind == "weight"}
    return Delta(layers, weights), record


def _damage(problem: str) -> DeltaDamageError:
    return DeltaDamageError(
        f"this is not a delta that editvc wrote: {problem}", hint="Run `editvc fsck`."
    )
