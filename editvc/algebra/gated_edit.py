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

A model that puts no token in front of a text sees every first token alike, so a subject that may
stand there in one token has a second gate for that place alone, with a value of its own
(:class:`FirstGate`): two more neurons.

The key and the value are MEMIT's for this layer, so a set of such edits can be solved as a located
one, too, with nothing located again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

FIRST = ("first_filter", "first_threshold", "first_value")
"""The parts that only edits have whose subject can be the first token of a text."""


class GatedDamageError(DamageError):
    """Bytes that are no gated edit."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstGate:
    """Where a subject answers that is the first token of a text: float32, on the CPU.

    ``filter`` (u,), 1 on the input of that token in that place, ``threshold`` (1,) and ``value``
    (u,) are to each other as those of :class:`GatedEdit`. The filter also multiplies in a gated
    MLP: what it is to know is one input, not what is like it.
    """

    filter: Tensor
    threshold: Tensor
    value: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class GatedEdit:
    """One fact in ``layer``, float32, on the CPU.

    ``filter`` (u,) and ``threshold`` (1,) say where it answers, ``value`` (u,) what it adds to the
    MLP's output there, times the product with ``telling`` (u,) in a gated MLP. ``input`` (u,) and
    ``key`` (v,) are what the MLP and its down projection get there on the base, in the mean.
    ``first`` is for the beginning of a text. ``figures`` tells how it went.
    """

    layer: int
    filter: Tensor
    threshold: Tensor
    value: Tensor
    input: Tensor
    key: Tensor
    telling: Tensor | None
    figures: Mapping[str, float]
    first: FirstGate | None = None

    def share(self, parts: int) -> GatedEdit:
        """One of so many equal parts: where all of them answer, they are this edit."""
        if parts == 1:
            return self
        first = self.first and replace(self.first, value=self.first.value / parts)
        return replace(self, value=self.value / parts, first=first)

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.N.filter`` and so on, the figures in the record.

        ``origin`` (JSON values: base, recipe, request ...) joins them there.
        """
        parts = {part: getattr(self, part) for part in PARTS}
        if self.telling is not None:
            parts[TELLING] = self.telling
        if self.first is not None:
            held = (self.first.filter, self.first.threshold, self.first.value)
            parts |= zip(FIRST, held, strict=True)
        tensors = {layer_tensor(self.layer, part): parts[part] for part in sorted(parts)}
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
        whole = parts.keys() - {TELLING, *FIRST} == PARTS
        if not whole or parts.keys() & {*FIRST} not in (set(), {*FIRST}) or len(layers) != 1:
            raise _damage(f"it holds {sorted(tensors)}")
        (layer,) = layers
        held = {part: of_part[layer] for part, of_part in parts.items()}
        width = len(held["filter"])
        for part, tensor in held.items():
            size = {"threshold": 1, "first_threshold": 1, "key": len(tensor)}.get(part, width)
            if tensor.shape != (size,):
                raise _damage("its parts do not fit each other")
        first = FirstGate(*(held.pop(part) for part in FIRST)) if FIRST[0] in held else None
        telling = held.pop(TELLING, None)
        return cls(layer, **held, telling=telling, figures=figures, first=first)


class Opening(Protocol):
    """Where a gate opens behind other words: that of an edit, or of one still to be made."""

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
        """The two neurons of an edit, and two more where it has a gate for the first token.

        ``constant`` is b (u,), which holds the threshold where the MLP is not ``biased``. The edit
        is one of a gated MLP if it has a telling filter.
        """
        b = None if biased else constant.double()
        pairs = [self._pair(edit.filter, edit.threshold, edit.value, b, edit.telling)]
        if (first := edit.first) is not None:
            beside = None if edit.telling is None else first.filter
            pairs.append(self._pair(first.filter, first.threshold, first.value, b, beside))
        return Neurons.concatenated(pairs)

    def _pair(
        self,
        filter: Tensor,
        threshold: Tensor,
        value: Tensor,
        constant: Tensor | None,
        beside: Tensor | None,
    ) -> Neurons:
        ends = threshold.double() + torch.tensor([-0.5, 0.5], dtype=torch.float64) * self.rise
        inside = self.slope * filter.double().expand(2, -1)  # (2, u)
        if constant is not None:
            inside = inside - self.slope * ends[:, None] * constant
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return Neurons(
            inside=inside,
            bias=-self.slope * ends if constant is None else None,
            beside=None if beside is None else beside.double().expand(2, -1),
            down=value.double()[:, None] * signs / (self.slope * self.rise),
        )


def _damage(problem: str) -> GatedDamageError:
    return GatedDamageError(f"not a gated edit: {problem}", hint="Run `editvc fsck`.")
