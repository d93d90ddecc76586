"""A base that no repository knows yet: what it is, and what edits of it begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from editvc.core.base import BaseModel, Identity
from editvc.core.compute import Compute
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import DEFAULT, method_of
from editvc.models.architecture_check import check_block
from editvc.models.context_prefixes import sample_contexts
from editvc.models.fingerprint import describe, identify
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import ModelFiles, open_model
from editvc.models.tensor_digests import ShortMemory
from editvc.statistics.bundle import StatisticsBundle, shipped_settings, shipped_with
from editvc.vcs.codec import encode

if TYPE_CHECKING:
    from editvc.core.progress import Progress

CONTEXT_SEED = 0


@dataclass(frozen=True, slots=True)
class NewBase:
    """A model's files, read and not loaded. ``memory`` holds what was digested on the way."""

    files: ModelFiles
    base: BaseModel
    identity: Identity
    memory: ShortMemory

    @classmethod
    def open(
        cls,
        model: str,
        revision: str | None,
        *,
        architecture: Path | None = None,
        progress: Progress | None = None,
    ) -> NewBase:
        """Raises what ``describe`` and ``identify`` raise."""
        files = open_model(model, revision, block_file=architecture)
        memory = ShortMemory()
        identity = identify(files, memory, progress)
        return cls(files, describe(files, memory), identity, memory)

    @property
    def shipped(self) -> Mapping[str, Any]:
        """What its own statistics say of a recipe."""
        return shipped_settings(self.files.folder)

    def load(self, compute: Compute) -> LanguageModel:
        """The model; one of a family that is not in the table is checked first."""
        if self.files.block:
            check_block(load(self.files))
        return load(self.files, compute)

    def chosen_layers(self, named: Sequence[int] | None) -> tuple[int, ...]:
        """The layers of a recipe to begin with."""
        shipped = self.shipped.get("layers")
        return self.files.architecture.chosen_layers(named, self.base, shipped)

    def bundle(self, layers: Sequence[int]) -> StatisticsBundle | None:
        """The statistics that it ships, where they cover these layers."""
        return shipped_with(self.files.folder, self.base, self.identity, layers)

    def recipe(
        self,
        lm: LanguageModel,
        layers: Sequence[int],
        bundle: StatisticsBundle | None,
        numbers: Mapping[str, Any] = MappingProxyType({}),
    ) -> LocatedRecipe:
        """A recipe to begin with; ``numbers`` come over its method's, and under what it ships."""
        normed = self.files.architecture.normed
        return LocatedRecipe.from_json(
            method_of(numbers.get("method", DEFAULT)).numbers_for(
                self.base.inner_size, normed=normed
            )
            | dict(numbers)
            | dict(self.shipped)
            | {"statistics": None}
            | (bundle.in_recipe if bundle is not None else {})
            | {"layers": tuple(layers), "contexts": sample_contexts(lm, CONTEXT_SEED)}
        )

    def objects(self, bundle: StatisticsBundle | None) -> list[bytes]:
        """What a repository stores of it, beside the base itself."""
        return [encode(self.identity), *(bundle.objects if bundle is not None else ())]

    def settings(self, recipe: LocatedRecipe) -> dict[str, Any]:
        """What config.toml says of it and of a recipe, by dotted key."""
        base = self.base
        of_base = {
            "model": base.source,
            "revision": base.revision,
            "id": base.id,
            "identity": self.identity.id,
        }
        of_recipe = {name: value for name, value in recipe.to_json().items() if name != "kind"}
        return {
            **{f"base.{name}": value for name, value in of_base.items()},
            **{f"recipe.{name}": value for name, value in of_recipe.items()},
        }
