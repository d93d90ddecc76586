"""Long runs of edits on the 17M model, with every norm and what is left of it as they grow.

``blind``: MEMIT as published, ten facts a batch, each batch on the weights as they are by then.
``set``: editvc's own, forty facts a commit. Both take targets and statistics as light as those of
the single edits. ``default``: editvc's own with all of its defaults. Rows are those of
``health --history``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from foresight_edits import LIGHT, MODEL, SUBJECTS, TEXT, Trials
from real_data import Collection
from ways import as_published

import editvc
from editvc.core.methods.recipe import Recipe
from editvc.session.trees import tree_at

LAMBDA = 100.0
"""MEMIT's for this model, as the data's first tries have it."""
RUNS = {
    "blind": tuple(range(10, 501, 10)),
    "set": tuple(range(40, 1001, 40)),
    "default": (25, 50, 100, 200, 300, 400),
}
"""After how many facts there is a commit."""
FIRST = {"default": 100}
"""The first record, where it is not the first of all: limits are chosen on those from 100 on."""
COLLAPSED = 5.0
"""A run ends where perplexity is this many times the base's."""


def rows(name: str, place: Path, collection: Collection) -> Iterator[dict[str, Any]]:
    """A row a commit; goes on where a run of that name in ``place`` ended."""
    trials = Trials(replace(SUBJECTS["atlas"], collection=lambda: collection), place)
    repo, recipe = _begun(name, place)
    session = repo.session
    live = len(repo.live())
    for size in (size for size in RUNS[name] if size > live):
        facts = [one.fact for one in collection.records[live:size]]
        repo.commit(facts, recipe=recipe, sequential=name == "blind", supersede=True)
        (moment,) = repo.health_history(most=1)
        outcome = trials.outcome(tree_at(session, "HEAD"), session, facts[0])
        yield {"part": "run", "name": name, "live": size, "figures": moment.worst, **outcome}
        if outcome["ppl"] > COLLAPSED:
            return
        live = size


def _begun(name: str, place: Path) -> tuple[editvc.Repo, Recipe]:
    """The run's repository, as far as it is, and how it edits."""
    folder = place / f"run-{name}"
    begun = folder.exists()
    if name == "default":
        repo = editvc.Repo(folder) if begun else editvc.Repo.init(
            folder, str(MODEL), texts=[TEXT], method="memit"
        )  # fmt: skip
        return repo, repo.choose("memit").recipe
    if not begun:
        shutil.copytree(place / "atlas" / ".editvc", folder / ".editvc")
    repo = editvc.Repo(folder)
    options = ["layers=[0, 1, 2, 3]", "sensitivity=", LIGHT[0]]
    recipe = repo.choose("memit", options=options).recipe
    return repo, as_published(recipe, LAMBDA) if name == "blind" else recipe
