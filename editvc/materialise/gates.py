"""The neurons of a tree: those of its gated edits, side by side, in slot order."""

from __future__ import annotations

from collections.abc import Callable

from editvc.algebra.gated_edit import Plateau
from editvc.algebra.neurons import Neurons
from editvc.core.history import Entry, Tree
from editvc.materialise.elements import Elements
from editvc.materialise.stored_statistics import Statistics
from editvc.models.architectures import Architecture, NoUpProjError
from editvc.models.checkpoint import Checkpoint, TensorNotFound


class Gates:
    """Makes neurons of trees of one repository: no set is solved."""

    def __init__(
        self,
        elements: Elements,
        statistics: Statistics,
        architecture: Architecture,
        files: Callable[[], Checkpoint],
    ) -> None:
        """``files`` opens the base's, which is done where there is a gated edit only."""
        self.elements = elements
        self.statistics = statistics
        self.architecture = architecture
        self.files = files

    def of(self, tree: Tree) -> dict[int, Neurons]:
        """The neurons by layer, float64: equal sets give equal ones, whatever the history."""
        layers: dict[int, list[Neurons]] = {}
        for _, layer, neurons in self.each(tree):
            layers.setdefault(layer, []).append(neurons)
        return {layer: Neurons.concatenated(parts) for layer, parts in sorted(layers.items())}

    def each(self, tree: Tree) -> list[tuple[Entry, int, Neurons]]:
        """The neurons of each gated edit, with the layer that they are in, in slot order.

        Facts that share one have equal shares of it.
        """
        gates = self.elements.gated(tree)
        biased = self._biased(gates[0].edit.layer) if gates else False
        return [
            (
                one.entry,
                one.edit.layer,
                Plateau(one.recipe.slope, one.recipe.rise).neurons(
                    one.edit.share(one.shared),
                    self.statistics.inputs_of(one.recipe).constant,
                    biased=biased,
                ),
            )
            for one in gates
        ]

    def _biased(self, layer: int) -> bool:
        """Whether what goes into the activation has a bias in the base's files."""
        path = self.architecture.gate_proj or self.architecture.up_proj
        if path is None:
            raise NoUpProjError(self.architecture.model_type)
        _, bias = self.architecture.mlp_names(layer, path)
        try:
            self.files().find(bias)
        except TensorNotFound:
            return False
        return True
