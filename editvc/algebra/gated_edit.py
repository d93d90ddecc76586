"""What a gated method makes of a fact: filters that know its subject, and what is then added.

The filter w reads the input x of one MLP. On the subject's last token ``w . x`` is about 1, on
everything else it stays below the threshold t. Two neurons make a plateau of that: with
``s = w . x``, slope beta and rise d,

    (act(beta (s - t + d/2)) - act(beta (s - t - d/2))) / (beta d)

is 0 below ``t - d/2``, 1 above ``t + d/2``, for any activation that is 0 on the left and the
identity on the right, as ReLU, SiLU and GELU are but for a few units around 0. The value r times
that is what the edit adds to the MLP's output. A bias holds t where the MLP has biases; elsewhere
the constant direction b does, which is 1 on every input (:mod:`.input_statistics`).

A gated MLP multiplies what comes out of its activation by another product with x. There stands a
second filter, about 1 on the subject and about 0 on names like it, which the first cannot tell from
it: so twins of the subject get little even where the gate is open.

The key and the value are MEMIT's for this layer, so a set of such edits can be solved as a located
one, too, with nothing located again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from editvc.algebra.neurons import Neurons
from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "gate"

PARTS = frozenset({"filter", "threshold", "value", "key", "input"})
TELLING = "telling"
"""The part that only edits of gated MLPs have."""


class GatedDamageError(DamageError):
    """Bytes that are no gated edit."""


@dataclass(frozen=True, slots=True, eq=False)
class GatedEdit:
    """One fact in ``layer``, float32, on the CPU.

    ``filter`` (u,) and ``threshold`` (1,) say where it answers, ``value`` (u,) what it adds to the
    MLP's output there, times the product with ``telling`` (u,) in a gated MLP. ``input`` (u,) and
    ``key`` (v,) are what the MLP and its down projection get there on the base, in the mean.
    ``figures`` tells how it went.
    """

    layer: int
    filter: Tensor
    threshold: Tensor
    value: Tensor
    input: Tensor
    key: Tensor
    telling: Tensor | None
    figures: Mapping[str, float]

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.N.filter`` and so on, the figures in the record.

        ``origin`` (JSON values: base, recipe, request ...) joins them there.
        """
        parts = sorted(PARTS if self.telling is None else PARTS | {TELLING})
        tensors = {layer_tensor(self.layer, part): getattr(self, part) for part in parts}
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
        if parts.keys() - {TELLING} != PARTS or len(layers) != 1:
            raise _damage(f"it holds {sorted(tensors)}")
        (layer,) = layers
        held = {part: of_part[layer] for part, of_part in parts.items()}
        telling = held.pop(TELLING, held["filter"])
        sizes = {one.shape for one in (held["filter"], held["value"], held["input"], telling)}
        if held["threshold"].shape != (1,) or len(sizes) > 1:
            raise _damage("its parts do not fit each other")
        return cls(layer, **held, telling=telling if TELLING in parts else None, figures=figures)


class Opening(Protocol):
    """Where a gate opens: that of an edit, or of one that is still to be made."""

    @property
    def filter(self) -> Tensor:
        """(u,)."""

    @property
    def threshold(self) -> Tensor | float:
        """A number."""

    @property
    def telling(self) -> Tensor | None:
        """(u,), of a gated MLP."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """How steep gates are: the ``slope`` beta inside the activation, and the ``rise`` d in scores.

    Scores rise from nothing to everything between ``t - d/2`` and ``t + d/2``.
    """

    slope: float
    rise: float

    def arriving(self, inputs: Tensor, gate: Opening) -> Tensor:
        """How much of a value arrives for inputs (n, u): (n,), with the plateau of ReLU.

        1 is all of it. Other activations come near.
        """
        scores = inputs.double() @ gate.filter.double()
        open_ = ((scores - gate.threshold) / self.rise + 0.5).clamp(0, 1)
        return open_ if gate.telling is None else open_ * (inputs.double() @ gate.telling.double())

    def neurons(self, edit: GatedEdit, constant: Tensor, *, biased: bool) -> Neurons:
        """The two neurons of an edit.

        ``constant`` is b (u,), which holds the threshold where the MLP is not ``biased``. The edit
        is one of a gated MLP if it has a telling filter.
        """
        w, r = edit.filter.double(), edit.value.double()
        ends = edit.threshold.double() + torch.tensor([-0.5, 0.5], dtype=torch.float64) * self.rise
        inside = self.slope * w.expand(2, -1)  # (2, u)
        if not biased:
            inside = inside - self.slope * ends[:, None] * constant.double()
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return Neurons(
            inside=inside,
            bias=-self.slope * ends if biased else None,
            beside=None if edit.telling is None else edit.telling.double().expand(2, -1),
            down=r[:, None] * signs / (self.slope * self.rise),
        )


def _damage(problem: str) -> GatedDamageError:
    return GatedDamageError(f"not a gated edit: {problem}", hint="Run `editvc fsck`.")
