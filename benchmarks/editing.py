"""Scores after 100, 200, 500 and 1000 edits of the reference model: editvc beside naive MEMIT.

    python benchmarks/editing.py --out docs/benchmarks.md

Every row is measured in one run on the same records, statistics and probes. ``sequential`` is one
commit per fact; ``squash`` locates them again as one batch, refreshed layer by layer (the one-shot
batch solution); ``compact`` is PRUNE on the sequential tree. One commit holds the facts up
to each size unless ``--singles``: equal sets have equal weights, whatever the commits. The prompts
of the entities share their templates with the scored prompts unless ``--plain-names``.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from atlas import MODEL, TEXT, Trial, measure, sample, table, trial
from naive_memit import edit_one_by_one

import editvc
from editvc.algebra.second_moment import SecondMoment
from editvc.core.history import Restraint, Tree
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import DEFAULT
from editvc.evaluation.scores import locality_answers
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model

Row = tuple[str, dict[str, float]]


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", default="0:1000", help="records to edit, START:STOP")
    parser.add_argument("--sizes", default="100,200,500,1000")
    parser.add_argument("--naive", action="store_true", help="naive MEMIT instead of editvc")
    parser.add_argument("--singles", action="store_true", help="really one commit per fact")
    parser.add_argument("--plain-names", action="store_true", help="entities without their prompts")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    start, stop = (int(part) for part in given.records.split(":"))
    sizes = [int(part) for part in given.sizes.split(",")]
    what = trial(start, stop)
    if given.plain_names:
        what = replace(what, entities=[{"subject": one["subject"]} for one in what.entities])
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), what)
        measured = bench.naive(sizes) if given.naive else bench.rows(sizes, given.singles)
        for row in measured:
            rows.append(row)
            print(table([row]).splitlines()[-1], flush=True)
            if given.out:
                given.out.write_text(table(rows) + "\n", encoding="utf-8")


class Bench:
    """One repository over the reference model, and the reference answers of the base."""

    def __init__(self, scratch: Path, what: Trial) -> None:
        self.what = what
        entities = what.write_entities(scratch / "entities.jsonl")
        self.repo = editvc.Repo.init(
            scratch, str(MODEL), texts=[TEXT], entities=entities, method=DEFAULT
        )
        self.untouched = load(open_model(str(MODEL)))
        self.references: dict[int, list[int]] = {}

    def rows(self, sizes: list[int], singles: bool) -> Iterator[Row]:
        """The rows of the table, in the order in which they are measured."""
        yield "base", self.score(self.untouched, max(sizes))
        began = time.perf_counter()
        done = 0
        for size in sizes:
            batch = self.what.facts[done:size]
            for part in [[fact] for fact in batch] if singles else [batch]:
                self.repo.commit(part)
            done = size
            head = self.repo.status().number
            yield f"editvc, {size} sequential", self.at(self.tree(), size)
            with self.aside(f"squash-{size}"):
                self.repo.squash(f"1..{head}")
                yield f"editvc, {size}, squash", self.at(self.tree(), size)
            with self.aside(f"compact-{size}"):
                self.repo.compact(Restraint(prune=math.e))
                yield f"editvc, {size}, compact", self.at(self.tree(), size)
        print(f"editvc: {time.perf_counter() - began:.0f} s", flush=True)

    @contextmanager
    def aside(self, branch: str) -> Iterator[None]:
        """On a branch of its own, made here; then back on main."""
        self.repo.create_branch(branch)
        self.repo.switch(branch)
        yield
        self.repo.switch("main")

    def naive(self, sizes: list[int]) -> Iterator[Row]:
        """Naive sequential MEMIT with the same contexts, layers and text."""
        recipe = memit(self.repo.recipe())
        statistics = self.repo.session.repository.store.get(recipe.statistics)
        lm = load(open_model(str(MODEL)))
        edits = edit_one_by_one(
            lm, self.what.facts[: max(sizes, default=0)], recipe,
            SecondMoment.from_bytes(statistics),
        )  # fmt: skip
        for done in edits:
            if done in sizes:
                yield f"naive MEMIT, {done} sequential", self.score(lm, done)

    def tree(self) -> Tree:
        """HEAD's tree."""
        head = self.repo.session.repository.refs.head().commit
        return self.repo.session.repository.tree_of(head)

    def at(self, tree: Tree, size: int) -> dict[str, float]:
        """A row for the model of a tree."""
        with self.repo.session.edited(tree) as lm:
            return self.score(lm, size)

    def score(self, lm: LanguageModel, size: int) -> dict[str, float]:
        """A row for a model, over the first ``size`` facts."""
        facts = sample(self.what.facts[:size])
        if size not in self.references:
            self.references[size] = locality_answers(self.untouched, facts)
        with torch.no_grad():
            return measure(lm, facts, self.references[size], self.what)


def memit(recipe: LocatedRecipe) -> LocatedRecipe:
    """MEMIT's own numbers for this model, as the data's first tries have them."""
    return LocatedRecipe(
        layers=recipe.layers,
        contexts=recipe.contexts,
        statistics=recipe.statistics,
        mom2_update_weight=100.0,
        entity_update_weight=0.0,
        clamp_norm_factor=0.7,
    )


if __name__ == "__main__":
    main()
