"""``health --history``: every norm of the papers, commit by commit, from what is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId, canonical_json, digest_of
from editvc.porcelain.layer_figures import judged_layers, worst_figures
from editvc.session.session import Session
from editvc.session.trees import commit_at

KIND = "health"
"""Of the cache: figures by tree and by the statistics that they are taken against."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One commit: its ``number``, how many edits were ``live``, and what its weights were.

    ``worst`` has the worst layer's value of every judged figure and of the distance; ``layers`` all
    figures of every layer, as ``health --json`` has them.
    """

    commit: ObjectId
    number: int
    live: int
    worst: dict[str, float]
    layers: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """For ``health --history --json``."""
        return {name: getattr(self, name) for name in self.__slots__}


def health_history(session: Session, revision: str, most: int | None = None) -> list[Moment]:
    """The figures of a revision and its first parents, oldest first; the last ``most`` of them.

    Closed form: no model is asked. What was told of a tree once is read from the cache.
    """
    commit = commit_at(session, revision)
    if commit is None:
        return []
    rows = [*session.repository.graph.first_parents(commit)][:most]
    moments = []
    for done, row in enumerate(reversed(rows)):
        if session.progress is not None:
            session.progress("commits", done, len(rows))
        moments.append(Moment(row.id, row.number, row.live, **_figures(session, row.tree)))
    return moments


def _figures(session: Session, tree: ObjectId) -> dict[str, Any]:
    recipe = session.recipe()

    def make() -> bytes:
        layers = [one for one, _ in judged_layers(session, session.repository.read_tree(tree))]
        return canonical_json(
            {"worst": worst_figures(layers), "layers": [one.to_json() for one in layers]}
        )

    name = digest_of([tree, recipe.statistics, recipe.entity_statistics])
    found: dict[str, Any] = json.loads(session.repository.cache.get_or_make(KIND, name, make))
    return found
