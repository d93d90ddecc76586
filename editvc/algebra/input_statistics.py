"""What MLPs see: the second moment of their inputs, its constant direction, and named things.

A gate is a linear read-out of the input x of an MLP, so its statistics are small: u x u a layer,
where those of keys are v x v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.second_moment import packed, unpacked
from editvc.algebra.tensor_file import by_part, layer_tensor, pack, unpack
from editvc.errors import DamageError

KIND = "inputs"

RIDGE = 1e-4
"""Of the mean diagonal of C: what keeps directions that no token uses from counting for all."""


class InputsDamageError(DamageError):
    """Bytes that are no statistics of inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerInputs:
    """One layer, float64: ``moment`` C (u, u), ``constant`` b (u,), and inputs of their own.

    ``inputs`` (n, u) are what the MLP sees at the last tokens of the ``names``, row by row,
    ``text`` (m, u) what it sees at tokens of text.
    """

    moment: Tensor
    constant: Tensor
    inputs: Tensor
    text: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, moment: Tensor, mean: Tensor, inputs: Tensor, text: Tensor, names: tuple[str, ...]
    ) -> LayerInputs:
        """From ``E[x x^T]`` (u, u) and ``E[x]`` (u,) over tokens.

        ``C = E[x x^T] + ridge I``, and ``b = C^-1 E[x]``: of all directions, the one whose product
        with an input is nearest to 1, in the mean square.
        """
        size = len(mean)
        ridge = RIDGE * moment.diagonal().mean()
        whole = moment.double() + ridge * torch.eye(size, dtype=torch.float64)
        constant = torch.linalg.solve(whole, mean.double())
        return cls(whole, constant, inputs.double(), text.double(), names)


@dataclass(frozen=True, slots=True, eq=False)
class InputStatistics:
    """By layer, all of the same names, and how many tokens the moments are means over."""

    layers: Mapping[int, LayerInputs]
    samples: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names that rows stand for in every layer."""
        return next(iter(self.layers.values())).names

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.3.triangle`` and ``layer.3.constant`` in float32, ``layer.3.inputs``
        and ``layer.3.text`` in float16; ``origin`` joins the record.
        """
        tensors: dict[str, Tensor] = {}
        for layer, inputs in sorted(self.layers.items()):
            tensors[layer_tensor(layer, "triangle")] = packed(inputs.moment)
            tensors[layer_tensor(layer, "constant")] = inputs.constant.float()
            tensors[layer_tensor(layer, "inputs")] = inputs.inputs.half()
            tensors[layer_tensor(layer, "text")] = inputs.text.half()
        record = {"kind": KIND, "names": list(self.names), "samples": self.samples}
        return pack(tensors, record | {"unit": "tokens"} | dict(origin or {}))

    @classmethod
    def from_bytes(cls, data: bytes) -> InputStatistics:
        """The inverse of :meth:`to_bytes`; :class:`InputsDamageError` for other bytes."""
        tensors, record = unpack(data, KIND, _damage)
        try:
            parts = by_part(tensors)
            names = tuple(map(str, record["names"]))
            layers = {
                layer: LayerInputs(
                    unpacked(triangle),
                    parts["constant"][layer].double(),
                    parts["inputs"][layer].double(),
                    parts["text"][layer].double(),
                    names,
                )
                for layer, triangle in parts["triangle"].items()
            }
            samples = int(record["samples"])
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _damage(str(error)) from error
        if any(len(inputs.inputs) != len(names) for inputs in layers.values()):
            raise _damage("names and rows differ in number")
        return cls(layers, samples)


def _damage(problem: str) -> InputsDamageError:
    return InputsDamageError(f"not statistics of inputs: {problem}", hint="Run `editvc fsck`.")
