"""What the set adds to the weights: its edits by recipe, each group solved, and the patches.

No restraint of the sum is known here, and the base only by its sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.restraints import dropped
from editvc.algebra.solvers import Edits, System, solver_of
from editvc.core.base import BaseModel
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.materialise.elements import Elements
from editvc.materialise.stored_preconditioners import Preconditioners
from editvc.vcs.repository import Repository


@dataclass(frozen=True, slots=True)
class Group:
    """The live edits of one recipe, in slot order, and their equations per layer."""

    recipe: LocatedRecipe
    entries: tuple[Entry, ...]
    systems: Mapping[int, System]


class Solutions:
    """Solves the sets of edits of one repository, keeping what it solved last of each recipe."""

    def __init__(
        self,
        repository: Repository,
        base: BaseModel,
        elements: Elements,
        preconditioners: Preconditioners,
    ) -> None:
        self.repository = repository
        self.base = base
        self.elements = elements
        self.preconditioners = preconditioners
        self._groups: dict[ObjectId, Group] = {}

    def of(self, tree: Tree) -> Delta:
        """What a tree's set adds to the weights, before any restraint.

        ``sum over recipes of R K^T (lambda C + K K^T)^-1`` per layer for MEMIT's, and so on.
        """
        total = self._sum(self.repository.edits_of(tree).entries(), tree.patches)
        for group in self.groups(tree):
            total = total + Delta(
                {layer: system.solution for layer, system in group.systems.items()}
            )
        return total

    def dropped(self, tree: Tree, probability: float, seed: int) -> Delta:
        """What a tree's set adds where every edit's share is dropped and rescaled by itself.

        AdaPLE's DR with a mask for each (seed, layer, slot): a function of the set, for an edit's
        share ``r_i g_i^T`` is one. Imported patches are nobody's edit and stay whole.
        """
        sums: dict[int, torch.Tensor] = {}
        rest = self._sum((), tree.patches)
        for slot, delta in self._shares(tree):
            rest = rest + Delta(weights=delta.weights)
            for layer, share in delta.layers.items():
                kept = dropped(share.dense(), probability, seed, layer, slot)  # (u, v)
                sums[layer] = sums[layer] + kept if layer in sums else kept
        return rest + Delta({layer: Factored.of_dense(dense) for layer, dense in sums.items()})

    def _shares(self, tree: Tree) -> Iterator[tuple[str, Delta]]:
        """What each live edit adds to the weights, by slot: together, what the set does."""
        for group in self.groups(tree):
            solver = solver_of(group.recipe)
            edits = self.stacked(group.recipe, group.entries)
            terms = {
                layer: solver.terms(edits[layer], system.preconditioner)
                for layer, system in group.systems.items()
            }
            for place, entry in enumerate(group.entries):
                yield entry.slot, Delta({layer: of[place] for layer, of in terms.items()})
        for entry in self.repository.edits_of(tree).entries():
            for patch in self.elements.patches([entry]):
                yield entry.slot, patch.delta

    def change(self, before: Tree, after: Tree) -> Delta:
        """The delta of a commit, before any restraint: rank at most the number of edits changed."""
        for tree in (before, after):
            self.repository.require_in_force(tree)
        old = set(self.repository.edits_of(before).entries())
        new = set(self.repository.edits_of(after).entries())
        total = self._sum(new - old, set(after.patches) - set(before.patches))
        total = total - self._sum(old - new, set(before.patches) - set(after.patches))
        for recipe, entries in self.elements.by_recipe(sorted(old | new)):
            kept = [entry for entry in entries if entry in old and entry in new]
            gone = [entry for entry in entries if entry not in new]
            come = [entry for entry in entries if entry not in old]
            total = total + Delta(self._change(recipe, kept, gone, come))
        return total

    def groups(self, tree: Tree) -> list[Group]:
        """The edits of a tree by recipe, in the order of the recipes' ids."""
        by_recipe = self.elements.by_recipe(self.repository.edits_of(tree).entries())
        return [self._group(recipe, entries) for recipe, entries in by_recipe]

    def stacked(self, recipe: LocatedRecipe, entries: Iterable[Entry]) -> dict[int, Edits]:
        """Keys (v, n) and residuals (u, n) of entries, per layer, in the order given."""
        located = self.elements.located(entries)
        return {layer: stack(located, layer, self.base) for layer in recipe.layers}

    def _group(self, recipe: LocatedRecipe, entries: Iterable[Entry]) -> Group:
        """The group of these entries; the last one of each recipe is kept, with what it solved.

        A commit's change is taken from the edits that stay, its figures from those that are live:
        mostly the set that was solved a moment ago, by the same command or by the one before it.
        """
        entries = tuple(entries)
        kept = self._groups.get(recipe.id)
        if kept is None or kept.entries != entries:
            systems = {
                layer: solver_of(recipe).system(edits, self.preconditioners.of_layer(recipe, layer))
                for layer, edits in self.stacked(recipe, entries).items()
            }
            kept = self._groups[recipe.id] = Group(recipe, entries, systems)
        return kept

    def _sum(self, entries: Iterable[Entry], imported: Iterable[ObjectId]) -> Delta:
        """The patches among entries, in slot order, and imported ones, in that of their ids."""
        alone = (Patch.from_bytes(self.repository.store.get(one)) for one in sorted(imported))
        patches = (*self.elements.patches(sorted(entries)), *alone)
        return Delta.sum(patch.delta for patch in patches)

    def _change(
        self,
        recipe: LocatedRecipe,
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


def stack(located: Sequence[Located], layer: int, base: BaseModel) -> Edits:
    """Keys (v, n) and residuals (u, n) of located edits in one layer, in the order given."""
    if not located:
        return Edits.empty(base.hidden_size, base.inner_size)
    return Edits(
        keys=torch.stack([one.keys[layer] for one in located], dim=1).to(torch.float64),
        residuals=torch.stack([one.residuals[layer] for one in located], dim=1).to(torch.float64),
    )
