"""Neurons beside those of an MLP: what gated edits add to a layer.

An MLP gives ``D (act(G x) * U x)`` of its input x where it is gated, and ``D act(U x + c)`` where
it is not. More rows of G, U and c with more columns of D add their own terms to that, and change
nothing of what was there. So neurons of several edits are put side by side, in any number; a set of
them is a function of the set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """m neurons of one MLP, float64, on the CPU.

    ``inside`` (m, u) are the rows whose product with the input goes through the activation,
    ``bias`` (m,) what is added there, or None in an MLP without biases; ``beside`` (m, u) the rows
    that multiply what comes out, or None where the MLP has no gate; ``down`` (u, m) what each
    neuron then adds to the output.
    """

    inside: Tensor
    bias: Tensor | None
    beside: Tensor | None
    down: Tensor

    def __len__(self) -> int:
        """How many neurons there are."""
        return len(self.inside)

    @classmethod
    def concatenated(cls, parts: Sequence[Neurons]) -> Neurons:
        """All of the parts, at least one and all of one kind, in their order."""
        first = parts[0]
        return cls(
            torch.cat([one.inside for one in parts]),
            None if first.bias is None else torch.cat([_whole(one.bias) for one in parts]),
            None if first.beside is None else torch.cat([_whole(one.beside) for one in parts]),
            torch.cat([one.down for one in parts], dim=1),
        )

    def rounded(self, dtype: torch.dtype) -> Neurons:
        """As files of a dtype keep them, in float64 again."""
        return self._each(lambda tensor: tensor.to(dtype).double())

    def to(self, device: torch.device, dtype: torch.dtype) -> Neurons:
        """The same where a model can use them."""
        return self._each(lambda tensor: tensor.to(device, dtype))

    def contribution(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """What the neurons add to the MLP's output (..., u) for its input x (..., u)."""
        inner = x @ self.inside.T  # (..., m)
        if self.bias is not None:
            inner = inner + self.bias
        value = activation(inner)
        if self.beside is not None:
            value = value * (x @ self.beside.T)
        return value @ self.down.T

    def _each(self, change: Callable[[Tensor], Tensor]) -> Neurons:
        return Neurons(
            change(self.inside),
            None if self.bias is None else change(self.bias),
            None if self.beside is None else change(self.beside),
            change(self.down),
        )


def _whole(part: Tensor | None) -> Tensor:
    assert part is not None, "neurons of one MLP are all of one kind"
    return part
