"""The second moments that recipes name, and those that a layer's health is judged by."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from editvc.algebra.input_statistics import InputStatistics, LayerInputs
from editvc.algebra.second_moment import SecondMoment
from editvc.algebra.sensitivity import shaping
from editvc.core.ids import ObjectId, short
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.errors import EditvcError
from editvc.vcs.repository import Repository


class LayerNotCovered(EditvcError):
    """Statistics that were not taken for ``layer``. ``statistics`` is their id.

    ``layers`` are those that they are asked for, ``layer`` among them.
    """

    def __init__(self, statistics: ObjectId, layer: int, layers: Iterable[int] = ()) -> None:
        wanted = sorted({layer, *layers})
        super().__init__(
            f"the statistics {short(statistics)} do not cover layer {layer}",
            hint="`editvc commit --take-statistics` takes them for the layers of its recipe, once. "
            f'To edit layers {wanted} from now on: `editvc config recipe.layers "{wanted}"`, then '
            "`editvc stats compute`.",
        )
        self.statistics = statistics
        self.layer = layer


class NoStatistics(EditvcError):
    """A recipe that names no statistics of text, where they are needed."""

    def __init__(self) -> None:
        super().__init__(
            "no statistics of keys were taken yet: they wait for a method that needs them",
            hint="`editvc stats compute` takes them; so does the first commit that needs them.",
        )


def of_text(recipe: LocatedRecipe) -> ObjectId:
    """The statistics of text that a recipe names. Raises :class:`NoStatistics`."""
    if recipe.statistics is None:
        raise NoStatistics
    return recipe.statistics


class NoInputs(EditvcError):
    """Gated edits are asked for where no statistics of inputs were taken."""

    def __init__(self) -> None:
        super().__init__(
            "the recipe names no statistics of what MLPs see",
            hint="`editvc stats compute` takes them, and so does the first `editvc commit "
            "--method gated`.",
        )


class Statistics:
    """The statistics objects of one repository, each read once."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._moments: dict[ObjectId, SecondMoment] = {}
        self._inputs: dict[ObjectId, InputStatistics] = {}

    def moment(self, identifier: ObjectId) -> SecondMoment:
        """A stored statistics object."""
        if identifier not in self._moments:
            self._moments[identifier] = SecondMoment.from_bytes(
                self.repository.store.get(identifier)
            )
        return self._moments[identifier]

    def moment_of(self, identifier: ObjectId, layer: int) -> torch.Tensor:
        """One layer's matrix of a statistics object, float64. Raises :class:`LayerNotCovered`."""
        self.require(identifier, [layer])
        return self.moment(identifier).matrix(layer)

    def require(self, identifier: ObjectId, layers: Iterable[int]) -> None:
        """Raise :class:`LayerNotCovered` for the first layer that statistics do not cover."""
        wanted = tuple(layers)
        for layer in wanted:
            if layer not in self.moment(identifier).layers:
                raise LayerNotCovered(identifier, layer, wanted)

    def inputs(self, identifier: ObjectId) -> InputStatistics:
        """A stored object of what MLPs see."""
        if identifier not in self._inputs:
            self._inputs[identifier] = InputStatistics.from_bytes(
                self.repository.store.get(identifier)
            )
        return self._inputs[identifier]

    def inputs_of(self, recipe: GatedRecipe) -> LayerInputs:
        """What the MLP of a recipe's layer sees.

        Raises :class:`NoInputs` where the recipe names none, and :class:`LayerNotCovered`.
        """
        if recipe.inputs is None:
            raise NoInputs
        (layer,), inputs = recipe.layers, self.inputs(recipe.inputs)
        if layer not in inputs.layers:
            raise LayerNotCovered(recipe.inputs, layer)
        return inputs.layers[layer]

    # -- by recipe --------------------------------------------------------------------------

    def weighted_moment(self, recipe: LocatedRecipe, layer: int) -> torch.Tensor:
        """(v, v) float64: ``lambda C`` of a recipe, text and entities together."""
        total = recipe.mom2_update_weight * self.moment_of(of_text(recipe), layer)
        if recipe.entity_statistics is not None and recipe.entity_update_weight:
            entities = self.moment_of(recipe.entity_statistics, layer)
            total = total + recipe.entity_update_weight * entities
        return total

    def shaping(self, recipe: LocatedRecipe) -> torch.Tensor | None:
        """What the recipe shapes its targets by, (u, u); ``None`` where it names no sensitivity."""
        if recipe.sensitivity is None:
            return None
        fisher = self.moment_of(recipe.sensitivity, recipe.layers[-1])
        return shaping(fisher, floor=recipe.sensitivity_floor, power=recipe.sensitivity_power)

    # -- of ordinary text -------------------------------------------------------------------

    def text_statistics(self, layer: int, recipes: Iterable[LocatedRecipe] = ()) -> ObjectId:
        """The statistics of ordinary text that a layer is judged by.

        Those of the recipe in force, or, where these do not cover the layer (it was edited when
        config.toml named other layers), the first of ``recipes`` that do.
        """
        in_force = self.repository.config.recipe
        for recipe in (in_force, *recipes):
            text = recipe.statistics
            if text is not None and layer in self.moment(text).layers:
                return text
        raise LayerNotCovered(of_text(in_force), layer)

    def covers(self, layer: int, recipes: Iterable[LocatedRecipe] = ()) -> bool:
        """Whether there are statistics to judge a layer by; an import may change any layer."""
        try:
            self.text_statistics(layer, recipes)
        except (LayerNotCovered, NoStatistics):
            return False
        return True

    def text_moment(self, layer: int, recipes: Iterable[LocatedRecipe] = ()) -> torch.Tensor:
        """(v, v) float64: C of ordinary text, of :meth:`text_statistics`."""
        return self.moment_of(self.text_statistics(layer, recipes), layer)

    # -- of names ---------------------------------------------------------------------------

    def names_moment(
        self, layer: int, recipes: Iterable[LocatedRecipe] = ()
    ) -> torch.Tensor | None:
        """(v, v) float64: E of the keys of named things, of the recipe in force or of ``recipes``.

        ``None`` where none of them has statistics of names in this layer.
        """
        for recipe in (self.repository.config.recipe, *recipes):
            names = recipe.entity_statistics
            if names is not None and layer in self.moment(names).layers:
                return self.moment_of(names, layer)
        return None
