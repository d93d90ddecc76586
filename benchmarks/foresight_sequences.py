"""Long runs of edits on the 17M model, with every norm and what is left of it as they grow.

``blind``: MEMIT as published, ten facts a batch, each batch on the weights as they are by then.
``set``: editvc's own, forty facts a commit. Rows are those of ``health --history``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from foresight_edits import LIGHT, SUBJECTS, Trials
from real_data import Collection
from ways import as_published

import editvc
from editvc.core.methods.recipe import Recipe
from editvc.session.trees import tree_at

LAMBDA = 100.0
"""MEMIT's for this model, as the data's first tries have it."""
RUNS = {"blind": (10, 500), "set": (40, 1000)}
"""How many facts a commit has, and how many all have."""
COLLAPSED = 5.0
"""A run ends where perplexity is this many times the base's."""


def rows(name: str, place: Path, collection: Collection) -> Iterator[dict[str, Any]]:
    """A row a commit; goes on where a run of that name in ``place`` ended."""
    trials = Trials(replace(SUBJECTS["atlas"], collection=lambda: collection), place)
    folder = place / f"run-{name}"
    if not folder.exists():
        shutil.copytree(place / "atlas" / ".editvc", folder / ".editvc")
    repo = editvc.Repo(folder)
    step, stop = RUNS[name]
    options = ["layers=[0, 1, 2, 3]", "sensitivity=", LIGHT[0]]
    recipe: Recipe = repo.choose("memit", options=options).recipe
    if name == "blind":
        recipe = as_published(recipe, LAMBDA)
    session = repo.session
    for live in range(len(repo.live()) + step, stop + 1, step):
        facts = [one.fact for one in collection.records[live - step : live]]
        repo.commit(facts, recipe=recipe, sequential=name == "blind", supersede=True)
        (moment,) = repo.health_history(most=1)
        outcome = trials.outcome(tree_at(session, "HEAD"), session, facts[0])
        yield {"part": "run", "name": name, "live": live, "figures": moment.worst, **outcome}
        if outcome["ppl"] > COLLAPSED:
            return
