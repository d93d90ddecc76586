"""MEND's editor: the trained network that makes pseudo pairs of pairs, and how it is stored.

What the pairs are, and what becomes of the pseudo pairs, is said in :mod:`editvc.editing.mend`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from editvc.algebra.tensor_file import pack, unpack_tensors
from editvc.core.methods.mend import Matrices
from editvc.errors import DamageError, EditvcError
from editvc.models.architectures import Architecture

KIND = "editor"
BLOCKS = (0, 1)
FIXED = ("mean", "std")
"""Tensors of a network that come from the statistics of its training set, not from training."""
INNER = "inner."
"""What the names of tensors begin with that belong to the network of up and gate projections."""
PARTS = (("down",), ("up", "down"), ("up", "gate", "down"))
"""The matrices of an MLP that an editor may be for."""
CHOICES: tuple[Matrices, ...] = get_args(Matrices)


class EditorError(EditvcError):
    """An editor that is not for this model or this recipe."""


class EditorDamageError(DamageError):
    """Bytes that are no editor of editvc."""


class Matrix(NamedTuple):
    """A matrix that is edited: its layer, and which of the MLP's it is.

    ``part`` is a key of :attr:`editvc.models.architectures.Architecture.mlp_matrices`.
    """

    layer: int
    part: str


Pairs = tuple[Tensor, Tensor]
"""Keys (..., tokens, v) and deltas (..., tokens, u), token by token: a matrix takes v numbers and
gives u."""
Statistics = Mapping[Matrix, tuple[Tensor, Tensor]]
"""Mean and standard deviation (v + u,) of each matrix's pairs, float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Editor:
    """The trained networks: one for each shape of matrix, shared among all matrices of that shape.

    ``parts`` of the MLPs of ``layers`` are edited: down projections alone, or all matrices, and
    then up and gate projections have a network of their own. A network has, with z = v + u the
    length of a pair, r the rank and n its matrices, the ``tensors`` ``mean`` and ``std`` (n, z),
    ``rate`` (n,), and for the blocks 0 and 1 ``down`` (r, z), ``up`` (z, r), ``bias`` (z,),
    ``scale`` and ``offset`` (n, z), each named like ``0.down``. Those of the second network have
    :data:`INNER` before their names. ``origin`` is what is known of the editor's making: JSON. As
    ``published`` (equations 9 and 10 of Gupta et al. 2024, arXiv 2401.07453), both blocks end in a
    ReLU and the second has no bias; otherwise, as in MEND's code, only the first has a ReLU.
    """

    layers: tuple[int, ...]
    tensors: Mapping[str, Tensor]
    origin: Mapping[str, Any]
    published: bool = False
    parts: tuple[str, ...] = ("down",)

    @classmethod
    def untrained(
        cls,
        statistics: Statistics,
        *,
        rank: int,
        rate: float,
        seed: int,
        published: bool = False,
    ) -> Editor:
        """An editor whose networks are the identity, for the matrices of the statistics."""
        generator = torch.Generator().manual_seed(seed)
        layers = tuple(sorted({matrix.layer for matrix in statistics}))
        present = {matrix.part for matrix in statistics}
        parts = next(parts for parts in PARTS if present == {*parts})
        known = names(published, parts)
        tensors: dict[str, Tensor] = {}
        for prefix, matrices in networks(layers, parts).items():
            mean = torch.stack([statistics[matrix][0] for matrix in matrices])
            std = torch.stack([statistics[matrix][1] for matrix in matrices])
            begun = _identity(mean, std, rank=rank, rate=rate, generator=generator)
            tensors |= {prefix + name: one.to(mean.device) for name, one in begun.items()}
        kept = {name: tensor for name, tensor in tensors.items() if name in known}
        return cls(layers, kept, {}, published, parts)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """All that are edited, network by network."""
        return tuple(
            matrix for shared in networks(self.layers, self.parts).values() for matrix in shared
        )

    def pair_size(self, matrix: Matrix) -> int:
        """z, the length of the pairs that the matrix's network takes."""
        prefix, _ = self._place(matrix)
        return self.tensors[f"{prefix}mean"].shape[1]

    def _place(self, matrix: Matrix) -> tuple[str, int]:
        """The prefix of the matrix's network, and its row of the tensors that have one for each."""
        prefix = "" if matrix.part == "down" else INNER
        return prefix, networks(self.layers, self.parts)[prefix].index(matrix)

    def pseudo(self, matrix: Matrix, keys: Tensor, deltas: Tensor) -> Pairs:
        """Pseudo keys (..., v) and pseudo deltas (..., u): g of a matrix, on pairs of any dtype."""
        prefix, place = self._place(matrix)
        part = {
            name.removeprefix(prefix): tensor.to(keys)
            for name, tensor in self.tensors.items()
            if name.startswith(INNER) == bool(prefix)
        }
        pairs = torch.cat([keys, deltas], dim=-1)
        hidden = (pairs - part["mean"][place]) / part["std"][place]
        for block in BLOCKS:
            mixed = hidden @ part[f"{block}.down"].T @ part[f"{block}.up"].T
            if f"{block}.bias" in part:
                mixed = mixed + part[f"{block}.bias"]
            added = mixed * part[f"{block}.scale"][place] + part[f"{block}.offset"][place]
            rectified = self.published or block == BLOCKS[0]
            hidden = hidden + (added.clamp_min(0) if rectified else added)
        v = keys.shape[-1]
        return hidden[..., :v], hidden[..., v:]

    def change(self, matrix: Matrix, keys: Tensor, deltas: Tensor) -> Pairs:
        """The factors of ``Delta_W = left^T right``: right (..., tokens, v), left (..., tokens, u).

        Returned as (right, left); left holds ``-alpha_W``.
        """
        prefix, place = self._place(matrix)
        k, d = self.pseudo(matrix, keys, deltas)
        return k, d * -self.tensors[f"{prefix}rate"][place].to(d)

    def to_bytes(self) -> bytes:
        """As safetensors, float32, with ``origin`` as the record: equal editors, equal bytes."""
        stored = {
            name: tensor.detach().to("cpu", torch.float32) for name, tensor in self.tensors.items()
        }
        record = dict(self.origin) | {"kind": KIND, "layers": list(self.layers)}
        # Written only where they are so: editors of before keep their bytes.
        if self.published:
            record["published"] = True
        if self.parts != PARTS[0]:
            record["matrices"] = list(self.parts)
        return pack(stored, record)

    @classmethod
    def from_bytes(cls, data: bytes, record: Mapping[str, Any]) -> Editor:
        """The inverse of :meth:`to_bytes`; ``record`` is the object's own.

        Raises :class:`EditorDamageError` for bytes that are no editor.
        """
        published = bool(record.get("published", False))
        stated = record.get("matrices", PARTS[0])
        parts = tuple(stated) if isinstance(stated, list | tuple) else ()
        if parts not in PARTS:
            raise _damage(f"there are no matrices {stated!r}")
        known = names(published, parts)
        tensors = unpack_tensors(data, _damage)
        if record.get("kind") != KIND or tensors.keys() != known:
            raise EditorDamageError(
                f"an editor is needed, this is a {record.get('kind')}", hint="Run `editvc fsck`."
            )
        own = ("kind", "layers", "published", "matrices")
        origin = {key: value for key, value in record.items() if key not in own}
        ordered = {name: tensors[name] for name in sorted(known)}
        return cls(tuple(record["layers"]), ordered, origin, published, parts)


def matrices_of(
    architecture: Architecture, layers: Sequence[int], which: Matrices
) -> tuple[Matrix, ...]:
    """The matrices of some layers' MLPs, all of them or the down projections.

    Raises :class:`EditorError` where ``which`` is neither, and where all are asked for of an
    architecture that does not say how its MLPs begin.
    """
    if which not in CHOICES:
        raise EditorError(f"matrices must be one of {', '.join(CHOICES)}, got {which!r}")
    if which == "mlp" and architecture.up_proj is None:
        raise EditorError(
            f"the block of model type '{architecture.model_type}' does not say where its MLP "
            "begins, so that only its down projections can be edited",
            hint="`editvc train mend FILE --matrices down` trains an editor for these.",
        )
    parts = ("down",) if which == "down" else tuple(architecture.mlp_matrices)
    return tuple(Matrix(layer, part) for layer in layers for part in parts)


def networks(layers: Sequence[int], parts: Sequence[str]) -> dict[str, list[Matrix]]:
    """The matrices that share a network, in the order of its rows, by the prefix of its tensors."""
    inner = [Matrix(layer, part) for layer in layers for part in parts if part != "down"]
    down = [Matrix(layer, "down") for layer in layers]
    return {"": down} | ({INNER: inner} if inner else {})


def names(published: bool, parts: Sequence[str]) -> set[str]:
    """The tensors that an editor has."""
    kinds = ("down", "up", "bias", "scale", "offset")
    known = {*FIXED, "rate"} | {f"{block}.{kind}" for block in BLOCKS for kind in kinds}
    if published:
        known -= {f"{BLOCKS[1]}.bias"}
    prefixes = ("",) if parts == PARTS[0] else ("", INNER)
    return {prefix + name for prefix in prefixes for name in known}


def is_fixed(name: str) -> bool:
    """Whether a tensor of an editor is not trained."""
    return name.removeprefix(INNER) in FIXED


def is_rate(name: str) -> bool:
    """Whether a tensor holds the learned rates of a network's matrices."""
    return name.removeprefix(INNER) == "rate"


def _identity(
    mean: Tensor, std: Tensor, *, rank: int, rate: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """A network that gives normed pairs as they are; ``mean`` and ``std`` are (n, z)."""
    count, size = mean.shape
    tensors = {"mean": mean, "std": std, "rate": torch.full((count,), rate)}
    for block in BLOCKS:
        # Up begins at zero, which makes the block the identity; down may not, or none learns.
        down = torch.randn(min(rank, size), size, generator=generator) / math.sqrt(size)
        tensors |= {
            f"{block}.down": down,
            f"{block}.up": torch.zeros(size, len(down)),
            f"{block}.bias": torch.zeros(size),
            f"{block}.scale": torch.ones(count, size),
            f"{block}.offset": torch.zeros(count, size),
        }
    return tensors


def _damage(problem: str) -> EditorDamageError:
    return EditorDamageError(f"no editor: {problem}", hint="Run `editvc fsck`.")
