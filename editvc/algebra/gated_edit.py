"""What a gated method makes of a fact: a filter that knows its subject, and what it then adds.

The filter w reads the input x of one MLP. On the subject's last token ``w . x`` is about 1, on
everything else it stays below the threshold t. Two neurons make a plateau of that: with
``s = w . x``, slope beta and rise d,

    (act(beta (s - t + d/2)) - act(beta (s - t - d/2))) / (beta d)

is 0 below ``t - d/2``, 1 above ``t + d/2``, for any activation that is 0 on the left and the
identity on the right, as ReLU, SiLU and GELU are but for a few units around 0. The value r times
that is what the edit adds to the MLP's output. A bias holds t where the MLP has biases; elsewhere
the constant direction b does, which is 1 on every input (:mod:`.input_statistics`), and it is also
what a gated MLP multiplies the activation by.

The key and the value are MEMIT's for this layer, so a set of such edits can be solved as a located
one, too, with nothing located again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.neurons import Neurons
from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "gate"

PARTS = frozenset({"filter", "threshold", "value", "key", "input"})


class GatedDamageError(DamageError):
    """Bytes that are no gated edit."""


@dataclass(frozen=True, slots=True, eq=False)
class GatedEdit:
    """One fact in ``layer``, float32, on the CPU.

    ``filter`` (u,) and ``threshold`` (1,) say where it answers, ``value`` (u,) what it adds to the
    MLP's output there. ``input`` (u,) and ``key`` (v,) are what the MLP and its down projection get
    there on the base, in the mean. ``figures`` tells how it went.
    """

    layer: int
    filter: Tensor
    threshold: Tensor
    value: Tensor
    input: Tensor
    key: Tensor
    figures: Mapping[str, float]

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.N.filter`` and so on, the figures in the record.

        ``origin`` (JSON values: base, recipe, request ...) joins them there.
        """
        tensors = {layer_tensor(self.layer, part): getattr(self, part) for part in sorted(PARTS)}
        return pack(tensors, {"kind": KIND, "figures": dict(self.figures)} | dict(origin or {}))

    @classmethod
    def from_bytes(cls, data: bytes) -> GatedEdit:
        """The inverse of :meth:`to_bytes`; :class:`GatedDamageError` for other bytes."""
        tensors, record = unpack(data, KIND, _damage)
        try:
            parts = by_part(tensors)
            figures = dict(record["figures"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damage(str(error)) from error
        layers = {layer for of_part in parts.values() for layer in of_part}
        if parts.keys() != PARTS or len(layers) != 1:
            raise _damage(f"it holds {sorted(tensors)}")
        (layer,) = layers
        held = {part: of_part[layer] for part, of_part in parts.items()}
        sizes = {held[part].shape for part in ("filter", "value", "input")}
        if held["threshold"].shape != (1,) or len(sizes) > 1:
            raise _damage("its parts do not fit each other")
        return cls(layer, **held, figures=figures)


@dataclass(frozen=True, slots=True)
class Plateau:
    """How steep gates are: the ``slope`` beta inside the activation, and the ``rise`` d in scores.

    Scores rise from nothing to everything between ``t - d/2`` and ``t + d/2``.
    """

    slope: float
    rise: float

    def open(self, scores: Tensor, thresholds: Tensor) -> Tensor:
        """How far gates are open for scores, 0 to 1: the plateau of ReLU, which others come near.

        ``thresholds`` are those of the last dimension, or of all.
        """
        return ((scores - thresholds) / self.rise + 0.5).clamp(0, 1)

    def neurons(
        self, edit: GatedEdit, constant: Tensor | None, *, gated: bool, biased: bool
    ) -> Neurons:
        """The two neurons of an edit.

        ``constant`` is b (u,): needed where the MLP is ``gated`` or not ``biased``.
        """
        w, r = edit.filter.double(), edit.value.double()
        ends = edit.threshold.double() + torch.tensor([-0.5, 0.5], dtype=torch.float64) * self.rise
        inside = self.slope * w.expand(2, -1)  # (2, u)
        bias = None
        if biased:
            bias = -self.slope * ends  # (2,)
        else:
            inside = inside - self.slope * ends[:, None] * _needed(constant)
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return Neurons(
            inside=inside,
            bias=bias,
            beside=_needed(constant).expand(2, -1) if gated else None,
            down=r[:, None] * signs / (self.slope * self.rise),
        )


def _needed(constant: Tensor | None) -> Tensor:
    assert constant is not None, "an MLP without biases, or with a gate, has a constant direction"
    return constant.double()


def _damage(problem: str) -> GatedDamageError:
    return GatedDamageError(f"not a gated edit: {problem}", hint="Run `editvc fsck`.")
