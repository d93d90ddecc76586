"""MLPs with more neurons, as a checkpoint keeps them: wider matrices, and one width in the config.

A Hugging Face configuration has one MLP width for all layers. So every layer is brought to the
width of the widest, rounded up to a multiple that servers like; what no edit needs is filled with
zeros, and a neuron of zeros adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
            hint="`editvc export --keep-width` has other neurons give way to them; "
            "`editvc.Repo(...).load_model()` in Python needs no files.",
        )
        self.model_type = model_type


@dataclass(frozen=True, slots=True)
class Part:
    """How one tensor of a file changes: to ``shape``, by ``made``, in the file's orientation."""

    shape: tuple[int, ...]
    made: partial[Tensor]

    def __call__(self, stored: Tensor) -> Tensor:
        """The new tensor, in the dtype of the one that is given."""
        return self.made(stored)


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
    old = width_of(architecture, checkpoint)
    most = max(map(len, neurons.values()))
    width = -(-(old + most) // multiple) * multiple
    parts: dict[str, Part] = {}
    for layer in range(layers):
        for one in mlp_tensors(architecture, checkpoint, layer, neurons.get(layer)):
            shape = list(checkpoint.info(one.stored).shape)
            shape[one.axis] = len(one.rows) * width
            grow = partial(_grown, rows=one.rows, old=old, width=width, axis=one.axis)
            parts[one.stored] = Part(tuple(shape), grow)
    added = {layer: len(more) for layer, more in sorted(neurons.items())}
    return Widening(architecture.width, old, width, added, parts)


@dataclass(frozen=True, slots=True)
class MlpTensor:
    """One tensor of an MLP as a file has it, by its ``stored`` name.

    Along ``axis`` it is made of blocks of as many rows as the MLP has neurons; ``rows`` are those
    that more neurons have in each block, ``None`` where they have zeros.
    """

    stored: str
    axis: int
    rows: list[Tensor | None]


def mlp_tensors(
    architecture: Architecture, checkpoint: Checkpoint, layer: int, more: Neurons | None
) -> Iterator[MlpTensor]:
    """The tensors of one MLP that has a place for each of its neurons, down projection last.

    Raises ``NoUpProjError``, and what :class:`Checkpoint` raises.
    """
    up, gate = architecture.up_proj, architecture.gate_proj
    if up is None:
        raise NoUpProjError(architecture.model_type)
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
    for path, rows in matrices.items():
        weight, bias_name = architecture.mlp_names(layer, path)
        yield MlpTensor(checkpoint.find(weight), 1 if architecture.transposed else 0, rows)
        try:
            yield MlpTensor(checkpoint.find(bias_name), 0, biases[path])
        except TensorNotFound:
            continue
    name = checkpoint.find(architecture.weight_name(layer))
    yield MlpTensor(name, 0 if architecture.transposed else 1, [down])


def width_of(architecture: Architecture, checkpoint: Checkpoint) -> int:
    """How many neurons the MLPs of a checkpoint have."""
    down = checkpoint.info(architecture.weight_name(0)).shape
    return down[0] if architecture.transposed else down[1]


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
