"""What GRACE makes of a fact: an entry of the codebook of one layer.

Keys and values are rows, (t, v) and (t, u), one a token of the target; see
:mod:`editvc.algebra.codebook` for what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "codebook"


class CodebookDamageError(DamageError):
    """Bytes that are no codebook entry."""


@dataclass(frozen=True, slots=True, eq=False)
class CodebookEntry:
    """One fact: keys (t, v) and values (t, u) in ``layer``, float32, on the CPU; t target tokens.

    ``figures`` tells how the values were found: ``loss``, ``steps``, ``base_probability`` and
    ``probability`` of the target (geometric mean over its tokens) before and after, and ``key``,
    the length of the first key, which a radius is to be seen against.
    """

    layer: int
    keys: Tensor
    values: Tensor
    target: tuple[int, ...]
    figures: Mapping[str, float]

    @property
    def labels(self) -> tuple[tuple[int, ...], ...]:
        """For every key, the tokens that are still to be said: the whole target for the first."""
        return tuple(self.target[place:] for place in range(len(self.target)))

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.N.keys``, ``layer.N.values``, the rest in the record.

        ``origin`` (JSON values: base, recipe, request ...) joins it there.
        """
        record = {"kind": KIND, "target": list(self.target), "figures": dict(self.figures)}
        tensors = {
            layer_tensor(self.layer, "keys"): self.keys,
            layer_tensor(self.layer, "values"): self.values,
        }
        return pack(tensors, record | dict(origin or {}))

    @classmethod
    def from_bytes(cls, data: bytes) -> CodebookEntry:
        """The inverse of :meth:`to_bytes`; :class:`CodebookDamageError` for other bytes."""
        tensors, record = unpack(data, KIND, _damage)
        try:
            parts = by_part(tensors)
            ((layer, keys),) = parts["keys"].items()
            values = parts["values"][layer]
            target = tuple(int(token) for token in record["target"])
            figures = dict(record["figures"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damage(str(error)) from error
        if len(tensors) != 2 or not len(keys) == len(values) == len(target):
            raise _damage("keys, values and target tokens differ in number")
        return cls(layer, keys, values, target, figures)


def _damage(problem: str) -> CodebookDamageError:
    return CodebookDamageError(f"not a codebook entry: {problem}", hint="Run `editvc fsck`.")
