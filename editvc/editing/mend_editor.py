"""MEND's editor: the trained network that makes pseudo pairs of pairs, and how it is stored.

What the pairs are, and what becomes of the pseudo pairs, is said in :mod:`editvc.editing.mend`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.tensor_file import pack, unpack_tensors
from editvc.errors import DamageError, EditvcError

KIND = "editor"
BLOCKS = (0, 1)
FIXED = ("mean", "std")
"""Tensors of an editor that come from the statistics of its training set, not from training."""


class EditorError(EditvcError):
    """An editor that is not for this model or this recipe."""


class EditorDamageError(DamageError):
    """Bytes that are no editor of editvc."""


Pairs = tuple[Tensor, Tensor]
"""Keys (..., tokens, v) and deltas (..., tokens, u), token by token."""


@dataclass(frozen=True, slots=True, eq=False)
class Editor:
    """The trained network. z = v + u is the length of a pair, r the rank, n the edited layers.

    ``tensors``: ``mean`` and ``std`` (n, z); for the blocks 0 and 1 ``down`` (r, z), ``up`` (z, r),
    ``bias`` (z,), ``scale`` and ``offset`` (n, z), each named like ``0.down``; ``rate`` (n,).
    ``origin`` is what is known of its making: JSON. As ``published`` (equations 9 and 10 of Gupta
    et al. 2024, arXiv 2401.07453), both blocks end in a ReLU and the second has no bias;
    otherwise, as in MEND's code, only the first has a ReLU.
    """

    layers: tuple[int, ...]
    tensors: Mapping[str, Tensor]
    origin: Mapping[str, Any]
    published: bool = False

    @classmethod
    def untrained(
        cls,
        layers: Sequence[int],
        mean: Tensor,
        std: Tensor,
        *,
        rank: int,
        rate: float,
        seed: int,
        published: bool = False,
    ) -> Editor:
        """An editor whose network is the identity; ``mean`` and ``std`` are (n, z), float32."""
        generator = torch.Generator().manual_seed(seed)
        size = mean.shape[1]
        tensors = {"mean": mean, "std": std, "rate": torch.full((len(layers),), rate)}
        for block in BLOCKS:
            # Up begins at zero, which makes the block the identity; down may not, or none learns.
            down = torch.randn(min(rank, size), size, generator=generator) / math.sqrt(size)
            tensors |= {
                f"{block}.down": down,
                f"{block}.up": torch.zeros(size, len(down)),
                f"{block}.bias": torch.zeros(size),
                f"{block}.scale": torch.ones(len(layers), size),
                f"{block}.offset": torch.zeros(len(layers), size),
            }
        known = names(published)
        placed = {name: one.to(mean.device) for name, one in tensors.items() if name in known}
        return cls(tuple(layers), placed, {}, published)

    def pseudo(self, layer: int, keys: Tensor, deltas: Tensor) -> Pairs:
        """Pseudo keys (..., v) and pseudo deltas (..., u): g of a layer, on pairs of any dtype."""
        place = self.layers.index(layer)
        part = {name: tensor.to(keys) for name, tensor in self.tensors.items()}
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

    def change(self, layer: int, keys: Tensor, deltas: Tensor) -> Pairs:
        """The factors of ``Delta_l = left^T right``: right (..., tokens, v), left (..., tokens, u).

        Returned as (right, left); left holds ``-alpha_l``.
        """
        k, d = self.pseudo(layer, keys, deltas)
        return k, d * -self.tensors["rate"][self.layers.index(layer)].to(d)

    def to_bytes(self) -> bytes:
        """As safetensors, float32, with ``origin`` as the record: equal editors, equal bytes."""
        stored = {
            name: tensor.detach().to("cpu", torch.float32) for name, tensor in self.tensors.items()
        }
        record = dict(self.origin) | {"kind": KIND, "layers": list(self.layers)}
        if self.published:  # written only where it is so: editors of before keep their bytes
            record["published"] = True
        return pack(stored, record)

    @classmethod
    def from_bytes(cls, data: bytes, record: Mapping[str, Any]) -> Editor:
        """The inverse of :meth:`to_bytes`; ``record`` is the object's own.

        Raises :class:`EditorDamageError` for bytes that are no editor.
        """
        published = bool(record.get("published", False))
        known = names(published)
        tensors = unpack_tensors(data, _damage)
        if record.get("kind") != KIND or tensors.keys() != known:
            raise EditorDamageError(
                f"an editor is needed, this is a {record.get('kind')}", hint="Run `editvc fsck`."
            )
        own = ("kind", "layers", "published")
        origin = {key: value for key, value in record.items() if key not in own}
        ordered = {name: tensors[name] for name in sorted(known)}
        return cls(tuple(record["layers"]), ordered, origin, published)


def names(published: bool) -> set[str]:
    """The tensors that an editor has."""
    parts = ("down", "up", "bias", "scale", "offset")
    known = {*FIXED, "rate"} | {f"{block}.{part}" for block in BLOCKS for part in parts}
    return known - {f"{BLOCKS[1]}.bias"} if published else known


def _damage(problem: str) -> EditorDamageError:
    return EditorDamageError(f"no editor: {problem}", hint="Run `editvc fsck`.")
