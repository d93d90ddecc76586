"""From trees to tensors: the place where stored objects and the algebra of edits meet.

The weights of a tree are a pure function of it: its located edits, in slot order, solved in
float64 against the whitening of their recipe, then restrained. Nothing here depends on the
history that led to the tree, or needs the model to be loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import torch

from editvc.core.base import BaseModel
from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, canonical_json, digest_of, short
from editvc.core.patch_recipes import Grace
from editvc.core.recipe import Recipe
from editvc.editing.architectures import Architecture, architecture_of
from editvc.editing.checkpoint import Checkpoint
from editvc.editing.codebook import Codebook, CodebookEntry
from editvc.editing.delta import Delta, Factored
from editvc.editing.diagnostics import capacity
from editvc.editing.entities import shaping
from editvc.editing.guards import Guard, Projection, Unguarded, Whitening
from editvc.editing.health import BaseFigures
from editvc.editing.loading import describe, require_same, resolve
from editvc.editing.located import Located
from editvc.editing.patch import Patch
from editvc.editing.restraint import check, largest_singular_value, restrain
from editvc.editing.solvers import Edits, System, solver_of
from editvc.editing.statistics import SecondMoment
from editvc.errors import EditvcError
from editvc.vcs.codec import metadata
from editvc.vcs.repo import Repository

Element = Located | Patch | CodebookEntry

READERS: Mapping[str, Callable[[bytes], Element]] = {
    "located": Located.from_bytes,
    "patch": Patch.from_bytes,
    "codebook": CodebookEntry.from_bytes,
}
"""How the bytes of each kind of element are read."""


class LayerNotCovered(EditvcError):
    """Statistics that were not taken for ``layer``. ``statistics`` is their id."""

    def __init__(self, statistics: ObjectId, layer: int) -> None:
        super().__init__(
            f"the statistics {short(statistics)} do not cover layer {layer}",
            hint='Name the layers in config.toml (`editvc config recipe.layers "[1, 2]"`), then '
            "`editvc stats compute` takes statistics for them.",
        )
        self.statistics = statistics
        self.layer = layer


def request_digest(base: ObjectId, recipe: ObjectId, fact: Fact) -> str:
    """What an element answers: this request, on this base, with this recipe."""
    return digest_of([base, recipe, *fact.request])


@dataclass(frozen=True, slots=True)
class Group:
    """The live edits of one recipe, in slot order, and their equations per layer."""

    recipe: Recipe
    entries: tuple[Entry, ...]
    systems: Mapping[int, System]


class Materialiser:
    """Makes deltas of the trees of one repository, keeping what it has read and factored."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._elements: dict[ObjectId, tuple[ObjectId, Element]] = {}
        self._guards: dict[tuple[ObjectId, int], Guard] = {}
        self._moments: dict[ObjectId, SecondMoment] = {}
        self._groups: dict[ObjectId, Group] = {}
        self._delta: tuple[Tree, Delta] | None = None

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
    def folder(self) -> Path:
        """The base's files, checked against the repository's record of it.

        Raises ``BaseMismatchError``, naming the tensor that differs.
        """
        base = self.base
        folder = resolve(base.source, base.revision)
        require_same(base, describe(folder, base.source, base.revision, base.architecture))
        return folder

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the base's files keep the editable weights in, and so every version's."""
        return Checkpoint(self.folder).read(self.architecture.weight_name(0)).dtype

    def weight(self, layer: int) -> torch.Tensor:
        """(u, v) float64: the base's down projection of ``layer``."""
        stored = Checkpoint(self.folder).read(self.architecture.weight_name(layer))
        oriented = stored.T if self.architecture.transposed else stored
        return oriented.to(torch.float64)

    def text_statistics(self, layer: int, recipes: Iterable[Recipe] = ()) -> ObjectId:
        """The statistics of ordinary text that a layer is judged by.

        Those of the recipe in force, or, where these do not cover the layer (it was edited when
        config.toml named other layers), the first of ``recipes`` that do.
        """
        in_force = self.repository.config.recipe
        for recipe in (in_force, *recipes):
            if layer in self.moment(recipe.statistics).layers:
                return recipe.statistics
        raise LayerNotCovered(in_force.statistics, layer)

    def covers(self, layer: int, recipes: Iterable[Recipe] = ()) -> bool:
        """Whether there are statistics to judge a layer by; an import may change any layer."""
        try:
            self.text_statistics(layer, recipes)
        except LayerNotCovered:
            return False
        return True

    def text_moment(self, layer: int, recipes: Iterable[Recipe] = ()) -> torch.Tensor:
        """(v, v) float64: C of ordinary text, of :meth:`text_statistics`."""
        return self.moment_of(self.text_statistics(layer, recipes), layer)

    def base_figures(self, layer: int, recipes: Iterable[Recipe] = ()) -> BaseFigures:
        """Norms of the base weight and of its output on ordinary text; cached, being slow."""
        statistics = self.text_statistics(layer, recipes)

        def make() -> bytes:
            figures = BaseFigures.of(self.weight(layer), self.moment_of(statistics, layer))
            return canonical_json(asdict(figures))

        name = digest_of([self.base.id, statistics, layer])
        return BaseFigures(**json.loads(self.repository.cache.get_or_make("base", name, make)))

    def figures(self, tree: Tree) -> dict[str, float]:
        """What every commit keeps of its tree's health: cheap, and without the dense weights.

        ``delta_norm`` is the Frobenius norm over all weights; ``drift`` and ``capacity`` are those
        of :class:`editvc.editing.health.LayerHealth`, of the worst layer. A layer that no
        statistics cover, as where a patch is, has no drift to tell. ``codebook`` counts the facts
        that are in codebooks and not in the weights, where there are any.
        """
        delta, groups = self.delta(tree), self.groups(tree)
        recipes = [group.recipe for group in groups]
        drifts, shares = [0.0], [0.0]
        for layer, factored in delta.layers.items():
            if self.covers(layer, recipes):
                moved = factored.quadratic(self.text_moment(layer, recipes))
                drifts.append(moved / self.base_figures(layer, recipes).output)
            systems = [group.systems[layer] for group in groups if layer in group.systems]
            shares.append(sum(map(capacity, systems)) / self.base.inner_size)
        figures = {"delta_norm": delta.norm(), "drift": max(drifts), "capacity": max(shares)}
        beside = len(self.in_codebooks(tree))
        return figures | ({"codebook": float(beside)} if beside else {})

    # -- statistics -------------------------------------------------------------------------

    def moment(self, identifier: ObjectId) -> SecondMoment:
        """A stored statistics object."""
        if identifier not in self._moments:
            self._moments[identifier] = SecondMoment.from_bytes(
                self.repository.store.get(identifier)
            )
        return self._moments[identifier]

    def moment_of(self, identifier: ObjectId, layer: int) -> torch.Tensor:
        """One layer's matrix of a statistics object, float64. Raises :class:`LayerNotCovered`."""
        moment = self.moment(identifier)
        if layer not in moment.layers:
            raise LayerNotCovered(identifier, layer)
        return moment.matrix(layer)

    def weighted_moment(self, recipe: Recipe, layer: int) -> torch.Tensor:
        """(v, v) float64: ``lambda C`` of a recipe, text and entities together."""
        total = recipe.mom2_update_weight * self.moment_of(recipe.statistics, layer)
        if recipe.entity_statistics is not None and recipe.entity_update_weight:
            entities = self.moment_of(recipe.entity_statistics, layer)
            total = total + recipe.entity_update_weight * entities
        return total

    def guard(self, recipe: Recipe, layer: int) -> Guard:
        """What a recipe's solver weighs edits against in a layer: kept in memory and the cache."""
        key = (recipe.id, layer)
        if key not in self._guards:
            self._guards[key] = GUARDS.get(recipe.row.solver, _whitening)(self, recipe, layer)
        return self._guards[key]

    def guards(self, recipe: Recipe) -> dict[int, Guard]:
        """The guard of every layer of a recipe."""
        return {layer: self.guard(recipe, layer) for layer in recipe.layers}

    def shaping(self, recipe: Recipe) -> torch.Tensor | None:
        """What the recipe shapes its targets by, (u, u); ``None`` where it names no sensitivity."""
        if recipe.sensitivity is None:
            return None
        fisher = self.moment_of(recipe.sensitivity, recipe.layers[-1])
        return shaping(fisher, floor=recipe.sensitivity_floor, power=recipe.sensitivity_power)

    # -- edits ------------------------------------------------------------------------------

    def element(self, identifier: ObjectId) -> tuple[ObjectId, Element]:
        """What was made of a fact, and the id of the recipe that it was made with."""
        if identifier not in self._elements:
            data = self.repository.store.get(identifier)
            record = metadata(data)
            read = READERS[record["kind"]]
            self._elements[identifier] = (ObjectId(record["recipe"]), read(data))
        return self._elements[identifier]

    def patches(self, entries: Iterable[Entry]) -> list[Patch]:
        """Those of the entries that are patches, in the order given."""
        found = (self.element(entry.located)[1] for entry in entries)
        return [one for one in found if isinstance(one, Patch)]

    def located(self, entries: Iterable[Entry]) -> list[Located]:
        """Those of the entries that are located edits, in the order given."""
        found = (self.element(entry.located)[1] for entry in entries)
        return [one for one in found if isinstance(one, Located)]

    def codebook_entries(self, entries: Iterable[Entry]) -> list[CodebookEntry]:
        """Those of the entries that are codebook entries, in the order given."""
        found = (self.element(entry.located)[1] for entry in entries)
        return [one for one in found if isinstance(one, CodebookEntry)]

    def in_codebooks(self, tree: Tree) -> list[Entry]:
        """The live edits of a tree that are codebook entries, in slot order."""
        entries = self.repository.edits_of(tree).entries()
        return [one for one in entries if isinstance(self.element(one.located)[1], CodebookEntry)]

    def codebooks(self, tree: Tree) -> list[Codebook]:
        """The codebooks of a tree, one a layer, lowest first.

        They answer beside the weights: the delta of a tree knows nothing of them.
        """
        found = {entry.slot: self.element(entry.located) for entry in self.in_codebooks(tree)}
        recipes = {key: self.repository.read_recipe(key) for key, _ in found.values()}
        layers: dict[int, dict[str, CodebookEntry]] = {}
        eps: dict[str, float] = {}
        for slot, (key, element) in found.items():
            recipe = recipes[key]
            if isinstance(element, CodebookEntry) and isinstance(recipe, Grace):
                layers.setdefault(element.layer, {})[slot] = element
                eps[slot] = recipe.eps
        return [Codebook.of(layers[layer], eps) for layer in sorted(layers)]

    def stacked(self, recipe: Recipe, entries: Iterable[Entry]) -> dict[int, Edits]:
        """Keys (v, n) and residuals (u, n) of entries, per layer, in the order given."""
        located = self.located(entries)
        return {layer: stack(located, layer, self.base) for layer in recipe.layers}

    def groups(self, tree: Tree) -> list[Group]:
        """The edits of a tree by recipe, in the order of the recipes' ids."""
        by_recipe = self.by_recipe(self.repository.edits_of(tree).entries())
        return [self._group(recipe, entries) for recipe, entries in by_recipe]

    def _group(self, recipe: Recipe, entries: Iterable[Entry]) -> Group:
        """The group of these entries; the last one of each recipe is kept, with what it solved.

        A commit's change is taken from the edits that stay, its figures from those that are live:
        mostly the set that was solved a moment ago, by the same command or by the one before it.
        """
        entries = tuple(entries)
        kept = self._groups.get(recipe.id)
        if kept is None or kept.entries != entries:
            systems = {
                layer: solver_of(recipe).system(edits, self.guard(recipe, layer))
                for layer, edits in self.stacked(recipe, entries).items()
            }
            kept = self._groups[recipe.id] = Group(recipe, entries, systems)
        return kept

    def by_recipe(self, entries: Iterable[Entry]) -> list[tuple[Recipe, list[Entry]]]:
        """The located edits among entries by their recipe, in the order of the recipes' ids."""
        grouped: dict[ObjectId, list[Entry]] = {}
        for entry in entries:
            recipe, element = self.element(entry.located)
            if isinstance(element, Located):
                grouped.setdefault(recipe, []).append(entry)
        found = [(self.repository.read_recipe(key), grouped[key]) for key in sorted(grouped)]
        return [(recipe, group) for recipe, group in found if isinstance(recipe, Recipe)]

    # -- deltas -----------------------------------------------------------------------------

    def unrestrained(self, tree: Tree) -> Delta:
        """What the set adds to the weights: each recipe's solution of its edits, and the patches.

        ``sum over recipes of R K^T (lambda C + K K^T)^-1`` per layer for MEMIT's, and so on.
        """
        total = self._sum(self.repository.edits_of(tree).entries(), tree.patches)
        for group in self.groups(tree):
            total = total + Delta(
                {layer: system.solution for layer, system in group.systems.items()}
            )
        return total

    def _sum(self, entries: Iterable[Entry], imported: Iterable[ObjectId]) -> Delta:
        """The patches among entries, in slot order, and imported ones, in that of their ids."""
        alone = (Patch.from_bytes(self.repository.store.get(one)) for one in sorted(imported))
        patches = (*self.patches(sorted(entries)), *alone)
        return Delta.sum(patch.delta for patch in patches)

    def delta(self, tree: Tree) -> Delta:
        """What is added to the base's weights: the set's delta under the tree's restraint.

        The last one is kept: a command asks for it more than once.
        """
        if self._delta is None or self._delta[0] != tree:
            self._delta = (tree, self._restrained(tree))
        return self._delta[1]

    def _restrained(self, tree: Tree) -> Delta:
        total = self.unrestrained(tree)
        if tree.restraint is None:
            return total
        check(tree.restraint)
        return total.map(partial(self._restrained_layer, tree, tree.restraint))

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
        recipes = [recipe for recipe, _ in self.by_recipe(self.repository.edits_of(tree).entries())]
        if self.covers(layer, recipes):
            return self.base_figures(layer, recipes).spectral_norm
        return largest_singular_value(self.weight(layer))

    def change(self, before: Tree, after: Tree) -> Delta:
        """The delta of a commit, before any restraint: rank at most the number of edits changed."""
        old = set(self.repository.edits_of(before).entries())
        new = set(self.repository.edits_of(after).entries())
        total = self._sum(new - old, set(after.patches) - set(before.patches))
        total = total - self._sum(old - new, set(before.patches) - set(after.patches))
        for recipe, entries in self.by_recipe(sorted(old | new)):
            kept = [entry for entry in entries if entry in old and entry in new]
            gone = [entry for entry in entries if entry not in new]
            come = [entry for entry in entries if entry not in old]
            total = total + Delta(self._change(recipe, kept, gone, come))
        return total

    def _change(
        self,
        recipe: Recipe,
        kept: Sequence[Entry],
        gone: Sequence[Entry],
        come: Sequence[Entry],
    ) -> dict[int, Factored]:
        if not gone and not come:
            return {}
        stays = self.stacked(recipe, kept)
        goes, comes = self.stacked(recipe, gone), self.stacked(recipe, come)
        solver = solver_of(recipe)
        return {
            layer: solver.change(system, stays[layer], goes[layer], comes[layer])
            for layer, system in self._group(recipe, kept).systems.items()
        }


def _whitening(maker: Materialiser, recipe: Recipe, layer: int) -> Whitening:
    """The factor of ``lambda C``."""
    name = digest_of(
        [
            recipe.statistics,
            recipe.mom2_update_weight,
            recipe.entity_statistics,
            recipe.entity_update_weight,
            layer,
        ]
    )

    def make() -> bytes:
        moment = maker.weighted_moment(recipe, layer)
        return Whitening.of(moment, name=f"layer {layer}").to_bytes()

    return Whitening.from_bytes(maker.repository.cache.get_or_make("whitening", name, make))


def _projection(maker: Materialiser, recipe: Recipe, layer: int) -> Projection:
    """The null space of C."""
    threshold, l2 = recipe.nullspace_threshold, recipe.l2
    name = digest_of([recipe.statistics, threshold, l2, layer])

    def make() -> bytes:
        moment = maker.moment_of(recipe.statistics, layer)
        return Projection.of(moment, threshold, l2, name=f"layer {layer}").to_bytes()

    return Projection.from_bytes(maker.repository.cache.get_or_make("nullspace", name, make))


GUARDS: Mapping[str, Callable[[Materialiser, Recipe, int], Guard]] = {
    "nullspace": _projection,
    "normalised": lambda _maker, _recipe, _layer: Unguarded(),
}
"""The guards of solvers that do not weigh edits against ``lambda C``."""


def stack(located: Sequence[Located], layer: int, base: BaseModel) -> Edits:
    """Keys (v, n) and residuals (u, n) of located edits in one layer, in the order given."""
    if not located:
        return Edits.empty(base.hidden_size, base.inner_size)
    return Edits(
        keys=torch.stack([one.keys[layer] for one in located], dim=1).to(torch.float64),
        residuals=torch.stack([one.residuals[layer] for one in located], dim=1).to(torch.float64),
    )
