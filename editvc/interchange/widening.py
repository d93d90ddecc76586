"""MLPs with more neurons, as a checkpoint keeps them: wider matrices, and one width in the config.

A Hugging Face configuration has one MLP width for all layers. So every layer is brought to the
width of the widest, rounded up to a multiple that servers like; what no edit needs is filled with
zeros, and a neuron of zeros adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from editvc.algebra.neurons import Neurons
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture, NoUpProjError
from editvc.models.checkpoint import Checkpoint, TensorNotFound


class FixedWidthError(EditvcError):
    """A family whose code fixes the width of its MLPs. ``model_type`` is its name."""

    def __init__(self, model_type: str) -> None:
        super().__init__(
            f"model type '{model_type}' fixes the width of its MLPs: gated edits have no place in "
            "its files",
            hint="Load the revision in Python (`editvc.Repo(...).load_model()`), or commit the "
            "facts with another method after a revert.",
        )
        self.model_type = model_type


@dataclass(frozen=True, slots=True)
class Part:
    """How one tensor of a file grows: to ``shape``, by ``grow``, both in the file's orientation."""

    shape: tuple[int, ...]
    grow: partial[Tensor]

    def __call__(self, stored: Tensor) -> Tensor:
        """The wider tensor, in the dtype of the one that is given."""
        return self.grow(stored)


@dataclass(frozen=True, slots=True)
class Widening:
    """The MLPs of a checkpoint at a new ``width``: ``parts`` by stored name, ``added`` by layer."""

    key: str
    old: int
    width: int
    added: Mapping[int, int]
    parts: Mapping[str, Part]

    @property
    def note(self) -> str:
        """What a user of the folder should know."""
        added = ", ".join(f"{count} in layer {layer}" for layer, count in self.added.items())
        return (
            f"{self.key} is {self.width} instead of {self.old}: {added}; the rest is filled with "
            "zeros, for all layers have one width"
        )

    def config(self, text: str) -> str:
        """The text of config.json with the new width, and nothing else changed."""
        return json.dumps(json.loads(text) | {self.key: self.width}, indent=2) + "\n"


def widen(
    architecture: Architecture,
    checkpoint: Checkpoint,
    neurons: Mapping[int, Neurons],
    layers: int,
    multiple: int,
) -> Widening:
    """Put neurons into the MLPs of a checkpoint with that many ``layers``.

    The new width is the least ``multiple`` that holds them.

    Raises :class:`FixedWidthError`, ``NoUpProjError``, and what :class:`Checkpoint` raises.
    """
    if architecture.width is None:
        raise FixedWidthError(architecture.model_type)
    if architecture.up_proj is None:
        raise NoUpProjError(architecture.model_type)
    down = checkpoint.info(architecture.weight_name(0)).shape
    old = down[0] if architecture.transposed else down[1]
    most = max(map(len, neurons.values()))
    width = -(-(old + most) // multiple) * multiple
    parts: dict[str, Part] = {}
    for layer in range(layers):
        parts |= _layer(architecture, checkpoint, layer, neurons.get(layer), old, width)
    added = {layer: len(more) for layer, more in sorted(neurons.items())}
    return Widening(architecture.width, old, width, added, parts)


def _layer(
    architecture: Architecture,
    checkpoint: Checkpoint,
    layer: int,
    more: Neurons | None,
    old: int,
    width: int,
) -> dict[str, Part]:
    up, gate = architecture.up_proj, architecture.gate_proj
    assert up is not None, "asked before"
    inside = None if more is None else more.inside  # (m, u)
    beside = None if more is None else more.beside  # (m, u)
    bias = None if more is None else more.bias  # (m,)
    down = None if more is None else more.down.T  # (m, u)
    # By matrix: the rows for each of the blocks of v rows that it holds.
    matrices: dict[str, list[Tensor | None]] = {}
    biases: dict[str, list[Tensor | None]] = {}
    if gate is None:
        matrices[up], biases[up] = [inside], [bias]
    elif gate == up:
        matrices[up], biases[up] = [inside, beside], [bias, None]
    else:
        matrices[gate], biases[gate] = [inside], [bias]
        matrices[up], biases[up] = [beside], [None]
    parts: dict[str, Part] = {}
    for path, rows in matrices.items():
        weight, bias_name = architecture.mlp_names(layer, path)
        parts |= _part(checkpoint, weight, rows, old, width, 1 if architecture.transposed else 0)
        try:
            parts |= _part(checkpoint, bias_name, biases[path], old, width, 0)
        except TensorNotFound:
            continue
    axis = 0 if architecture.transposed else 1
    return parts | _part(checkpoint, architecture.weight_name(layer), [down], old, width, axis)


def _part(
    checkpoint: Checkpoint,
    name: str,
    rows: list[Tensor | None],
    old: int,
    width: int,
    axis: int,
) -> dict[str, Part]:
    stored = checkpoint.find(name)
    shape = list(checkpoint.info(stored).shape)
    shape[axis] = len(rows) * width
    return {stored: Part(tuple(shape), partial(_grown, rows=rows, old=old, width=width, axis=axis))}


def _grown(stored: Tensor, *, rows: list[Tensor | None], old: int, width: int, axis: int) -> Tensor:
    """Each block of ``old`` rows along an axis, with its new rows (m, ...) and zeros behind it."""
    moved = stored.movedim(axis, 0)  # (blocks * old, ...)
    pieces: list[Tensor] = []
    for place, new in enumerate(rows):
        block = moved[place * old : (place + 1) * old]
        more = block[:0] if new is None else new.to(stored.dtype)
        empty = block.new_zeros(width - old - len(more), *block.shape[1:])
        pieces += [block, more, empty]
    return torch.cat(pieces).movedim(0, axis)
