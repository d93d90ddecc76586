"""The preconditioners of recipes: what a solver weighs edits against, factored once and cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from editvc.algebra.preconditioners import (
    IdentityPreconditioner,
    Preconditioner,
    Projection,
    Whitening,
)
from editvc.core.ids import ObjectId, digest_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.materialise.stored_statistics import Statistics, of_text
from editvc.vcs.cache import Cache


class Preconditioners:
    """The preconditioners of a repository's recipes: kept in memory, their factors in the cache."""

    def __init__(self, statistics: Statistics, cache: Cache) -> None:
        self.statistics = statistics
        self.cache = cache
        self._preconditioners: dict[tuple[ObjectId, int], Preconditioner] = {}

    def of(self, recipe: LocatedRecipe) -> dict[int, Preconditioner]:
        """The preconditioner of every layer of a recipe."""
        return {layer: self.of_layer(recipe, layer) for layer in recipe.layers}

    def of_layer(self, recipe: LocatedRecipe, layer: int) -> Preconditioner:
        """What a recipe's solver weighs edits against in one layer."""
        key = (recipe.id, layer)
        if key not in self._preconditioners:
            make = PRECONDITIONERS[recipe.row.preconditioner]
            self._preconditioners[key] = make(self.statistics, self.cache, recipe, layer)
        return self._preconditioners[key]


def _whitening(
    statistics: Statistics, cache: Cache, recipe: LocatedRecipe, layer: int
) -> Whitening:
    """The factor of ``lambda C``."""
    name = digest_of(
        [
            of_text(recipe),
            recipe.mom2_update_weight,
            recipe.entity_statistics,
            recipe.entity_update_weight,
            layer,
        ]
    )

    def make() -> bytes:
        moment = statistics.weighted_moment(recipe, layer)
        return Whitening.of(moment, name=f"layer {layer}").to_bytes()

    return Whitening.from_bytes(cache.get_or_make("whitening", name, make))


def _projection(
    statistics: Statistics, cache: Cache, recipe: LocatedRecipe, layer: int
) -> Projection:
    """The null space of C."""
    threshold, l2 = recipe.nullspace_threshold, recipe.l2
    name = digest_of([of_text(recipe), threshold, l2, layer])

    def make() -> bytes:
        moment = statistics.moment_of(of_text(recipe), layer)
        return Projection.of(moment, threshold, l2, name=f"layer {layer}").to_bytes()

    return Projection.from_bytes(cache.get_or_make("nullspace", name, make))


PRECONDITIONERS: Mapping[str, Callable[[Statistics, Cache, LocatedRecipe, int], Preconditioner]] = {
    "covariance": _whitening,
    "nullspace": _projection,
    "identity": lambda _statistics, _cache, _recipe, _layer: IdentityPreconditioner(),
}
"""The preconditioners that rows of :mod:`editvc.core.methods.table` name."""
