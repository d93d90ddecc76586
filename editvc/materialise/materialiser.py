"""The weights of a tree over those of the base.

They are a pure function of the tree: its located edits, in slot order, solved in float64 against
the preconditioners of their recipes, with its patches, then restrained. Nothing here
depends on the history that led to the tree, or needs the model to be loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import torch

from editvc.algebra.delta import Delta
from editvc.algebra.diagnostics import capacity
from editvc.algebra.factored import Factored
from editvc.algebra.layer_health import BaseFigures
from editvc.algebra.neurons import Neurons
from editvc.algebra.restraints import check, largest_singular_value, restrain
from editvc.core.base import BaseModel
from editvc.core.history import Restraint, Tree
from editvc.core.ids import canonical_json, digest_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.materialise.elements import Elements
from editvc.materialise.gates import Gates
from editvc.materialise.solutions import Solutions
from editvc.materialise.stored_preconditioners import Preconditioners
from editvc.materialise.stored_statistics import Statistics
from editvc.models.architectures import Architecture, architecture_of
from editvc.models.checkpoint import Checkpoint, weights_digest
from editvc.models.source import ModelFiles
from editvc.models.tensor_digests import tensor_digests
from editvc.vcs.repository import Repository


class Materialiser:
    """Makes deltas of the trees of one repository, keeping what it has read and factored.

    Attributes: ``elements`` and ``statistics`` read what is stored, ``preconditioners`` factors
    statistics, and ``solutions`` solves sets of edits before any restraint.
    """

    def __init__(self, repository: Repository, files: Callable[[], ModelFiles]) -> None:
        self.repository = repository
        self._files = files
        self.elements = Elements(repository)
        self.statistics = Statistics(repository)
        self.preconditioners = Preconditioners(self.statistics, repository.cache)
        self._delta: tuple[Tree, Delta] | None = None

    @cached_property
    def solutions(self) -> Solutions:
        """What sets of edits add to the weights; made on first use, for it reads the base."""
        return Solutions(self.repository, self.base, self.elements, self.preconditioners)

    @cached_property
    def gates(self) -> Gates:
        """What gated edits add beside the weights."""
        return Gates(
            self.elements, self.statistics, self.architecture, lambda: Checkpoint(self.folder)
        )

    # -- the base ---------------------------------------------------------------------------

    @cached_property
    def base(self) -> BaseModel:
        """The base model that the repository was made for."""
        return self.repository.read_base()

    @cached_property
    def architecture(self) -> Architecture:
        """Where the editable weights are in the base."""
        return architecture_of(self.base.model_type, self.base.architecture)

    @cached_property
    def files(self) -> ModelFiles:
        """The base's files, asked for when they are needed: whoever gives them has checked them."""
        return self._files()

    @property
    def folder(self) -> Path:
        """Where the base's files are."""
        return self.files.folder

    @property
    def weights_digest(self) -> str:
        """One digest of all weights in the base's files, as cards and locks name it."""
        return weights_digest(tensor_digests(Checkpoint(self.folder), self.repository.cache))

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the base's files keep the editable weights in, and so every version's."""
        return Checkpoint(self.folder).read(self.architecture.weight_name(0)).dtype

    def weight(self, layer: int) -> torch.Tensor:
        """(u, v) float64: the base's down projection of ``layer``."""
        stored = Checkpoint(self.folder).read(self.architecture.weight_name(layer))
        oriented = stored.T if self.architecture.transposed else stored
        return oriented.to(torch.float64)

    def base_figures(self, layer: int, recipes: Iterable[LocatedRecipe] = ()) -> BaseFigures:
        """Norms of the base weight and of its output on ordinary text; cached, being slow."""
        statistics = self.statistics.text_statistics(layer, recipes)

        def make() -> bytes:
            moment = self.statistics.moment_of(statistics, layer)
            return canonical_json(asdict(BaseFigures.of(self.weight(layer), moment)))

        name = digest_of([self.base.id, statistics, layer])
        return BaseFigures(**json.loads(self.repository.cache.get_or_make("base", name, make)))

    # -- trees ------------------------------------------------------------------------------

    def delta(self, tree: Tree) -> Delta:
        """What is added to the base's weights: the set's delta under the tree's restraint.

        The last one is kept: a command asks for it more than once.
        """
        self.repository.require_in_force(tree)
        if self._delta is None or self._delta[0] != tree:
            self._delta = (tree, self._restrained(tree))
        return self._delta[1]

    def neurons(self, tree: Tree) -> dict[int, Neurons]:
        """The neurons of a tree by layer, as files of the base's dtype keep them."""
        self.repository.require_in_force(tree)
        return {
            layer: neurons.rounded(self.dtype) for layer, neurons in self.gates.of(tree).items()
        }

    def _restrained(self, tree: Tree) -> Delta:
        restraint = tree.restraint
        if restraint is None:
            return self.solutions.of(tree)
        check(restraint)
        if restraint.drop_each is None:
            total = self.solutions.of(tree)
        else:
            total = self.solutions.dropped(tree, restraint.drop_each, restraint.seed or 0)
        return total.map(partial(self._restrained_layer, tree, restraint))

    def _restrained_layer(
        self, tree: Tree, restraint: Restraint, layer: int, delta: Factored
    ) -> Factored:
        """One layer's delta under a restraint; the base is read only for those that look at it."""
        pruning = restraint.prune is not None or restraint.linear is not None
        return restrain(
            delta,
            restraint,
            self._ceiling(tree, layer) if pruning else math.inf,
            weight=self.weight(layer) if restraint.rect is not None else None,
            layer=layer,
        )

    def _ceiling(self, tree: Tree, layer: int) -> float:
        """s_max of the base weight, PRUNE's yardstick; one of its figures where it has some."""
        entries = self.repository.edits_of(tree).entries()
        recipes = [recipe for recipe, _ in self.elements.by_recipe(entries)]
        if self.statistics.covers(layer, recipes):
            return self.base_figures(layer, recipes).spectral_norm
        return largest_singular_value(self.weight(layer))

    def figures(self, tree: Tree) -> dict[str, float]:
        """What every commit keeps of its tree's health: cheap, and without the dense weights.

        ``delta_norm`` is the Frobenius norm over all weights; ``drift`` and ``capacity`` are those
        of :class:`editvc.algebra.layer_health.LayerHealth`, of the worst layer. A layer that no
        statistics cover, as where a patch is, has no drift to tell. ``codebook`` counts the facts
        that are in codebooks and not in the weights, ``gates`` those that are neurons of their own,
        where there are any.
        """
        delta, groups = self.delta(tree), self.solutions.groups(tree)
        recipes = [group.recipe for group in groups]
        drifts, shares = [0.0], [0.0]
        for layer, factored in delta.layers.items():
            if self.statistics.covers(layer, recipes):
                moved = factored.quadratic(self.statistics.text_moment(layer, recipes))
                drifts.append(moved / self.base_figures(layer, recipes).output)
            systems = [group.systems[layer] for group in groups if layer in group.systems]
            shares.append(sum(map(capacity, systems)) / self.base.inner_size)
        figures = {"delta_norm": delta.norm(), "drift": max(drifts), "capacity": max(shares)}
        beside = {
            "codebook": float(len(self.elements.in_codebooks(tree))),
            "gates": float(len(self.elements.gated(tree))),
        }
        return figures | {name: count for name, count in beside.items() if count}
