"""What an import needs to know of the base, and what it gives: a delta that stands for no fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Checkpoint, TensorNotFound
from editvc.models.weights import parameters_of

SOURCES = "A PEFT LoRA folder can be imported, or a checkpoint of the base's architecture."


class ImportRefused(EditvcError):
    """A folder that cannot be taken over as a change of the base. ``source`` is the folder."""

    def __init__(self, source: Path, problem: str, *, hint: str = SOURCES) -> None:
        super().__init__(f"{source} cannot be imported: {problem}", hint=hint)
        self.source = source


@dataclass(frozen=True, slots=True)
class Imported:
    """A delta from elsewhere.

    ``kind`` is "lora" or "difference", ``digest`` a sha256 over what was read. ``errors`` are the
    relative Frobenius errors of the changed weights by name, and ``error`` that of all together:
    0 where nothing was cut. ``notes`` say what a user might want to know.
    """

    kind: str
    delta: Delta
    digest: str
    errors: Mapping[str, float]
    error: float = 0.0
    notes: tuple[str, ...] = ()


class BaseWeights:
    """The base's parameters by their names in the model, and their tensors on disk.

    ``names`` has all names of each parameter, more than one where weights are tied.
    """

    def __init__(self, folder: Path, architecture: Architecture) -> None:
        self.architecture = architecture
        self.checkpoint = Checkpoint(folder)
        self.names = parameters_of(folder)
        self._first = {
            name: first
            for first, same in self.names.items()
            for own in same
            for name in (own, architecture.stored_name(own))
        }

    def parameter(self, name: str) -> str | None:
        """The parameter that is meant by a name, with or without its leading path; else None."""
        if name in self._first:
            return self._first[name]
        fits = {first for known, first in self._first.items() if known.endswith(f".{name}")}
        return fits.pop() if len(fits) == 1 else None

    def stored(self, parameter: str) -> tuple[str, ...]:
        """The names under which the checkpoint holds a parameter; several where a tie is not used.

        Raises :class:`TensorNotFound` where there is none.
        """
        return self.stored_in(self.checkpoint, parameter)

    def stored_in(self, checkpoint: Checkpoint, parameter: str) -> tuple[str, ...]:
        """:meth:`stored`, of another checkpoint of the same architecture."""
        names = [self.architecture.stored_name(name) for name in self.names[parameter]]
        in_files = []
        for name in names:
            try:
                in_files.append(checkpoint.find(name))
            except TensorNotFound:
                if name == names[-1] and not in_files:
                    raise
        return tuple(dict.fromkeys(in_files))

    def read(self, parameter: str) -> Tensor:
        """A parameter as the checkpoint keeps it."""
        return self.checkpoint.read(self.stored(parameter)[0])

    def delta(self, parts: Mapping[str, Factored]) -> Delta:
        """The delta of changes by parameter, each in the orientation of the parameter itself."""
        layers, weights = {}, {}
        for name, part in parts.items():
            layer = self.architecture.layer_of(name)
            if layer is None:
                weights[name] = part
            else:
                layers[layer] = part.transposed() if self.architecture.transposed else part
        return Delta(layers, weights)
