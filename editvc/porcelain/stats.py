"""Second moments of the base's keys: taken, stored, described, and put into the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId, digest_of, short
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.recipe import require_layers
from editvc.porcelain.status import status
from editvc.session.choose_recipe import choose
from editvc.session.session import Session
from editvc.session.take_inputs import INPUTS, take_inputs
from editvc.session.take_statistics import put_in_force
from editvc.statistics.bundle import sources_of, take
from editvc.vcs.codec import metadata


@dataclass(frozen=True, slots=True)
class Described:
    """One statistics object in force: its role, and what it was taken from."""

    role: str
    id: ObjectId
    source: str
    samples: int
    unit: str

    def to_json(self) -> dict[str, Any]:
        """For ``stats show --json``."""
        return {
            "role": self.role,
            "id": self.id,
            "source": self.source,
            "samples": self.samples,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class StatisticsResult:
    """New statistics, in force from now on, and what a user should know of the switch."""

    statistics: tuple[Described, ...]
    remarks: tuple[str, ...]

    def summary(self) -> str:
        """In words."""
        return "\n".join(
            f"{one.role}: {short(one.id)} from {one.samples} {one.unit} of {one.source}"
            for one in self.statistics
        )

    def to_json(self) -> dict[str, Any]:
        """For ``stats compute --json``."""
        return {
            "statistics": [one.to_json() for one in self.statistics],
            "remarks": list(self.remarks),
        }


def compute(
    session: Session,
    *,
    texts: Sequence[Path],
    dataset: str | None,
    entities: Path | None,
    budget: int | None,
    token_cap: int,
) -> StatisticsResult:
    """Take statistics anew, store them, and make them the recipe's; those of gated edits, too."""
    plumbing = session.repository
    require_layers(session.recipe().layers, session.materialiser.base)
    sources = sources_of(texts, dataset, entities)
    run = digest_of([sources.digest, list(session.recipe().layers), budget, token_cap])
    state = plumbing.cache.folder / "statistics" / run
    bundle = take(
        session.base_model(),
        session.materialiser.base,
        session.recipe().layers,
        sources,
        budget=budget,
        token_cap=token_cap,
        folder=state,
        progress=session.progress,
        workers=session.workers,
    )
    layers = choose(session, next(iter(GatedRecipe.ROWS))).recipe.layers
    take_inputs(session, layers, texts=texts, dataset=dataset, entities=entities)
    before, remarks = session.recipe(), []
    if live := status(session).live:
        remarks.append(
            f"the {live} live edits keep the statistics that they were located with; "
            "`editvc squash` brings them to the new ones"
        )
    for name, identifier in bundle.in_recipe.items():
        old = getattr(before, name)
        if old not in (None, identifier):
            remarks.append(f"recipe.{name} was {short(old)}; `editvc config` sets it back")
    put_in_force(session, bundle)
    return StatisticsResult(tuple(described(session)), tuple(remarks))


def described(session: Session) -> list[Described]:
    """The statistics in force: those of the recipe, and of what gated edits see."""
    recipe = session.recipe()
    roles = {
        "text": recipe.statistics,
        "entities": recipe.entity_statistics,
        "sensitivity": recipe.sensitivity,
        "inputs": session.repository.config.get(INPUTS),
    }
    descriptions = []
    for role, identifier in roles.items():
        if identifier is not None:
            origin = metadata(session.repository.store.get(identifier))
            descriptions.append(
                Described(
                    role, identifier, str(origin["source"]), origin["samples"], origin["unit"]
                )
            )
    return descriptions
