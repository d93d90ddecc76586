"""MLPs that keep their width: some of their neurons give way to others.

For servers and families that know one width. What the neurons did that are gone, no model does any
more; :func:`editvc.models.neuron_use.neuron_use` tells which of them do least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from editvc.algebra.neurons import Neurons
from editvc.errors import EditvcError
from editvc.interchange.widening import Part, mlp_tensors, width_of
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Checkpoint


class TooManyNeurons(EditvcError):
    """More neurons for a layer than its MLP has. ``layer`` says which."""

    def __init__(self, layer: int, needed: int, width: int) -> None:
        super().__init__(
            f"layer {layer} has {width} neurons, and the edits need {needed}",
            hint="Leave --keep-width out: the MLPs get wider then.",
        )
        self.layer = layer


@dataclass(frozen=True, slots=True)
class Replacing:
    """New neurons in the place of old ones: ``parts`` by stored name, ``replaced`` by layer."""

    replaced: Mapping[int, int]
    parts: Mapping[str, Part]

    @property
    def note(self) -> str:
        """What a user of the folder should know."""
        given = ", ".join(f"{count} in layer {layer}" for layer, count in self.replaced.items())
        return f"the least used neurons gave way to those of edits: {given}; no width has changed"

    def config(self, text: str) -> str:
        """The text of config.json, as it is."""
        return text


def replace_least(
    architecture: Architecture,
    checkpoint: Checkpoint,
    neurons: Mapping[int, Neurons],
    use: Mapping[int, Tensor],
) -> Replacing:
    """Put neurons where those are that are used least, by ``use`` (v,) of each layer.

    Raises :class:`TooManyNeurons`, ``NoUpProjError``, and what :class:`Checkpoint` raises.
    """
    width = width_of(architecture, checkpoint)
    parts: dict[str, Part] = {}
    for layer, more in sorted(neurons.items()):
        if len(more) > width:
            raise TooManyNeurons(layer, len(more), width)
        least = use[layer].argsort(stable=True)[: len(more)].sort().values  # (m,)
        for one in mlp_tensors(architecture, checkpoint, layer, more):
            made = partial(_replaced, rows=one.rows, places=least, width=width, axis=one.axis)
            parts[one.stored] = Part(checkpoint.info(one.stored).shape, made)
    return Replacing({layer: len(more) for layer, more in sorted(neurons.items())}, parts)


def _replaced(
    stored: Tensor, *, rows: list[Tensor | None], places: Tensor, width: int, axis: int
) -> Tensor:
    """Each block of ``width`` rows along an axis, with new rows (m, ...) or zeros at ``places``."""
    moved = stored.movedim(axis, 0).clone()  # (blocks * width, ...)
    for block, new in enumerate(rows):
        moved[block * width + places] = 0 if new is None else new.to(stored.dtype)
    return moved.movedim(0, axis)
