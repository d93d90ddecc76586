"""The ways from facts to an edited model: a set, a batch, a sequence, a set under a restraint.

- ``set``: every fact made on the base alone, and the set solved. Committing one by one or all at
  once gives the same weights.
- ``batch``: the same facts located again together, layer after layer (``squash``; its time is the
  squash's alone).
- ``sequential``: one fact after the other on whatever the weights are by then, blind to what was
  edited before, as papers measure collapse.
- ``published``: such a sequence as the method's authors make it: MEMIT without what editvc adds,
  AlphaEdit with the keys of earlier edits remembered.
- ``prune``, ``linear``, ``rect``, ``drop``: the set under a restraint, with the papers' numbers.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import editvc
from editvc.algebra.delta import Delta
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.materialise.make_elements import make, make_in_sequence
from editvc.materialise.materialiser import Materialiser
from editvc.materialise.solutions import stack
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.weights import apply_delta, edited

RESTRAINTS = {
    "prune": Restraint(prune=math.e),
    "linear": Restraint(linear=2.0),
    "rect": Restraint(rect=40.0),
    "drop": Restraint(drop=0.8),
}
WAYS = ("", "set", "batch", "sequential", "published", *RESTRAINTS)
MEMIT_WEIGHT = 15000 / 16384
"""MEMIT's lambda for GPT-J, for each of the neurons that its MLPs are wide."""
REMEMBERING = ("alphaedit",)
"""Methods whose published sequence solves with the keys of earlier edits."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A model after so many edits, at work until the next one is asked for.

    ``seconds`` and ``stored`` bytes are those of one edit, in the mean.
    """

    way: str
    edits: int
    lm: LanguageModel
    seconds: float
    stored: float


class Workshop:
    """A copy of an empty repository, in which facts are edited by one recipe in several ways."""

    def __init__(self, empty: Path, folder: Path, facts: Sequence[Fact]) -> None:
        shutil.copytree(empty, folder)
        self.repo, self.facts = editvc.Repo(folder), facts

    def edited(self, way: str, recipe: Recipe, sizes: Sequence[int]) -> Iterator[Edited]:
        """The model after each of some numbers of edits, the smallest first."""
        if way in ("sequential", "published"):
            yield from self._sequence(way, recipe, sizes)
            return
        spent = 0.0
        for size in sizes:
            began = time.perf_counter()
            self._have(recipe, size)
            spent += time.perf_counter() - began
            if way == "set":
                with self._head(way, size, spent / size) as one:
                    yield one
                continue
            self.repo.create_branch(f"{way}-{size}", at=f"set-{size}")
            self.repo.switch(f"{way}-{size}")
            began = time.perf_counter()
            if way == "batch":
                self.repo.squash(f"1..{self.repo.status().number}")
            else:
                self.repo.compact(RESTRAINTS[way])
            with self._head(way, size, (time.perf_counter() - began) / size) as one:
                yield one

    @contextmanager
    def alone(self, way: str, recipe: Recipe, fact: Fact) -> Iterator[Edited]:
        """The model with one fact and no other; the fact is taken back afterwards."""
        if way in ("sequential", "published"):
            lm = self.repo.session.base_model()
            began = time.perf_counter()
            ((patch, _),) = self._patches(way, lm, recipe, [fact])
            with edited(lm, patch.delta):
                seconds = time.perf_counter() - began
                yield Edited(way, 1, lm, seconds, len(patch.to_bytes()))
            return
        began = time.perf_counter()
        done = self.repo.commit([fact], recipe=recipe)
        with self._head(way, 1, time.perf_counter() - began) as one:
            yield one
        self.repo.revert(done.id)

    def _have(self, recipe: Recipe, size: int) -> None:
        """See to it that the branch ``set-<size>`` holds so many edits."""
        name = f"set-{size}"
        if any(branch.name == name for branch in self.repo.branches()):
            self.repo.switch(name)
            return
        if self.repo.live():
            self.repo.switch("main")
        self.repo.commit(self.facts[len(self.repo.live()) : size], recipe=recipe)
        self.repo.create_branch(name)

    @contextmanager
    def _head(self, way: str, size: int, seconds: float) -> Iterator[Edited]:
        plumbing = self.repo.session.repository
        tree = plumbing.tree_of(plumbing.refs.head().commit)
        entries = list(plumbing.edits_of(tree).entries())
        stored = sum(len(plumbing.store.get(one.element)) for one in entries) / len(entries)
        with self.repo.session.edited(tree) as lm:
            yield Edited(way, size, lm, seconds, stored)

    def _sequence(self, way: str, recipe: Recipe, sizes: Sequence[int]) -> Iterator[Edited]:
        lm, spent, stored = load(self.repo.session.materialiser.files), 0.0, 0
        patches = self._patches(way, lm, recipe, self.facts[: max(sizes)])
        for done, (patch, seconds) in enumerate(patches, 1):
            began = time.perf_counter()
            apply_delta(lm, patch.delta)
            spent += seconds + time.perf_counter() - began
            stored += len(patch.to_bytes())
            if done in sizes:
                yield Edited(way, done, lm, spent / done, stored / done)

    def _patches(
        self, way: str, lm: LanguageModel, recipe: Recipe, facts: Sequence[Fact]
    ) -> Iterator[tuple[Patch, float]]:
        """A patch for each fact, on the weights as they are when it is asked for; its seconds."""
        materialiser = self.repo.session.materialiser
        published = way == "published"
        if published:
            recipe = as_published(recipe, MEMIT_WEIGHT * materialiser.base.inner_size)
        earlier: list[Located] = []
        for fact in facts:
            began = time.perf_counter()
            if published and recipe.method in REMEMBERING:
                assert isinstance(recipe, LocatedRecipe)
                (edit,) = make(materialiser, lm, [fact.request], recipe, None)
                assert isinstance(edit, Located)
                earlier.append(edit)
                patch = Patch(remembered(materialiser, earlier, recipe), edit.figures)
            else:
                (patch,) = make_in_sequence(materialiser, lm, [fact.request], recipe, None)
                assert isinstance(patch, Patch), "no other element is applied one after the other"
            yield patch, time.perf_counter() - began


def remembered(
    materialiser: Materialiser, edits: Sequence[Located], recipe: LocatedRecipe
) -> Delta:
    """What the last of some edits changes where the others' keys shall keep what they give.

    ``R K^T P ([K_p K] [K_p K]^T P + L2 I)^-1``: AlphaEdit's solution, equation 14 of Fang et al.
    """
    solver, preconditioners = solver_of(recipe), materialiser.preconditioners.of(recipe)
    return Delta(
        {
            layer: solver.terms(stack(edits, layer, materialiser.base), preconditioners[layer])[-1]
            for layer in recipe.layers
        }
    )


def as_published(recipe: Recipe, weight: float) -> Recipe:
    """MEMIT with lambda ``weight``, text alone guarded, nothing made up for; others as they are."""
    if recipe.method != "memit" or not isinstance(recipe, LocatedRecipe):
        return recipe
    return LocatedRecipe(
        layers=recipe.layers,
        contexts=recipe.contexts,
        statistics=recipe.statistics,
        method=recipe.method,
        mom2_update_weight=weight,
        entity_update_weight=0.0,
        delivery_factor=1.0,
        compensation=0.0,
        clamp_norm_factor=0.75,
    )
