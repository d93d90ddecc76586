"""What a sequence of edits is made of, and how it went: values, which need no tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import Fact
from editvc.core.fusion_rule import FusionRule
from editvc.core.methods.recipe import Recipe
from editvc.evaluation.sequence_measures import COLUMNS, Trajectory
from editvc.porcelain.measure import digest_of_files

SUITE = "sequence"


@dataclass(frozen=True, slots=True)
class Course:
    """What a sequence is made of, and where it is looked at.

    ``ends`` are the numbers of edits after each batch, ``checkpoints`` those of them at which all
    earlier edits are asked and norms are taken; ``tasks`` are files, of which ``items`` each are
    asked there. Cosines are taken between the first ``compared`` updates.
    """

    sources: tuple[SourcedFact, ...]
    recipe: Recipe
    rule: FusionRule
    ends: tuple[int, ...]
    checkpoints: tuple[int, ...]
    tasks: tuple[Path, ...]
    items: int
    compared: int

    @property
    def facts(self) -> tuple[Fact, ...]:
        """In the order in which they are edited in."""
        return tuple(one.fact for one in self.sources)

    @property
    def settings(self) -> dict[str, Any]:
        """What a result depends on beside the tree and the facts."""
        return {
            "recipe": self.recipe.id,
            "fusion": self.rule.to_json(),
            "ends": [*self.ends],
            "checkpoints": [*self.checkpoints],
            "tasks": digest_of_files(self.tasks),
            "items": self.items if self.tasks else None,
            "compared": self.compared,
        }


@dataclass(frozen=True, slots=True)
class SequenceResult:
    """How a sequence went. ``record`` is all of it, as :mod:`editvc.porcelain.sequence_run` says.

    ``trajectory`` has the measures of the papers.
    """

    record: Mapping[str, Any]
    trajectory: Trajectory

    @property
    def checkpoints(self) -> Sequence[Mapping[str, Any]]:
        """What was found at each checkpoint."""
        found: Sequence[Mapping[str, Any]] = self.record["checkpoints"]
        return found

    @property
    def broken(self) -> int | None:
        """The number of edits with which an update was no number any more, and the end came."""
        found: int | None = self.record["broken"]
        return found

    def norms(self, weight: str, name: str) -> dict[int, float]:
        """One norm of one weight (a layer's number, as text) by checkpoint; 0 is the start."""
        start = {0: self.record["base"]["norms"][weight][name]}
        return start | {
            one["edits"]: one["norms"][weight][name]
            for one in self.checkpoints
            if weight in one["norms"]
        }

    def to_json(self) -> dict[str, Any]:
        """The contract of ``sequence --json``."""
        trajectory = self.trajectory
        measured = [column for column in COLUMNS if any(trajectory.prompts[column])]
        return {
            **self.record,
            "overall": {column: trajectory.overall(column) for column in measured},
            "forgotten": {
                column: trajectory.forgotten(column) for column in measured if column != COLUMNS[-1]
            },
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line for each checkpoint and figure: what CSV shows."""
        trajectory = self.trajectory
        for column in COLUMNS[:-1]:
            for name, figures in (
                ("overall", trajectory.overall(column)),
                ("forgotten", trajectory.forgotten(column)),
            ):
                for edits, value in figures.items():
                    yield {"edits": edits, "weight": "", "figure": f"{name} {column}",
                           "value": value}  # fmt: skip
        for one in self.checkpoints:
            for weight, norms in one["norms"].items():
                for name, value in norms.items():
                    yield {"edits": one["edits"], "weight": weight, "figure": name, "value": value}
