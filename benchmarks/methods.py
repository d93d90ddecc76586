"""Every method on the reference model, after 1, 10, 100, 500 and 1000 edits.

    python benchmarks/methods.py --out methods.jsonl --methods memit,rome --ways set,sequential
    python benchmarks/methods.py --table methods.jsonl

Three ways, where a method has them. ``set``: every fact made on the base alone, and the set solved
(committing one by one or all at once gives the same weights). ``batch``: the same facts located
again together, layer after layer (``squash``, of the repository of ``set``; its time is the
squash's alone). ``sequential``: one fact after the other on whatever
the weights are by then, blind to what was edited before, as papers measure collapse. Besides,
``prune``, ``linear``, ``rect`` and ``drop``: the set under a restraint. A method that
has collapsed (less than a tenth of a hundred edits said, or five times the base's perplexity) is
not taken further. Rows are appended to ``--out`` as they are measured.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from atlas import MODEL, TEXT, Trial, task_accuracies, trial

import editvc
from editvc.algebra.patch import Patch
from editvc.core.history import Restraint
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import METHODS
from editvc.evaluation.probes import forced, perplexity
from editvc.evaluation.scores import answers, answers_correctly, locality_answers, score
from editvc.materialise.make_elements import make_in_sequence
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model
from editvc.models.weights import apply_delta

SIZES = (1, 10, 100, 500, 1000)
SCORED = 100
"""Facts scored, evenly spaced among those edited: a standard error of up to 5 points."""
NEIGHBOURS = 3
GENERATED = 50
BLOCKS = 40
RECALLED = 200
RESTRAINTS = {
    "prune": Restraint(prune=math.e),
    "linear": Restraint(linear=2.0),
    "rect": Restraint(rect=40.0),
    "drop": Restraint(drop=0.8),
}
"""With the papers' numbers."""
WAYS = ("", "set", "batch", "sequential", *RESTRAINTS)
TITLES = {
    "es": "ES", "ps": "PS", "ns": "NS", "s": "S", "eff": "Eff", "par": "Par", "spe": "Spe",
    "avg": "Avg", "gen": "Gen", "ppl": "ppl", "sent": "sent", "subj": "subj", "recall": "recall",
    "seconds": "s/edit", "kilobytes": "KiB/edit",
}  # fmt: skip


def main() -> None:
    """Parse, run, append; or print the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="memit")
    parser.add_argument("--ways", default="set")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--records", default="0:1000", help="records to edit, START:STOP")
    parser.add_argument("-O", dest="options", action="append", default=[], help="key=value")
    parser.add_argument("--label", help="what the rows call it, where options change the method")
    parser.add_argument("--published", action="store_true", help="MEMIT without what editvc adds")
    parser.add_argument("--scratch", type=Path, help="keep the first repository here, for reuse")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table([json.loads(line) for line in given.table.read_text().splitlines()]))
        return
    start, stop = (int(part) for part in given.records.split(":"))
    sizes = [int(size) for size in given.sizes.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.scratch or Path(scratch)
        bench = Bench(kept, Path(scratch), trial(start, stop))
        ways = given.ways.split(",")
        for name in given.methods.split(","):
            label = given.label or (f"{name} (published)" if given.published else name)
            for row in bench.rows(name, label, ways, sizes, given.options, given.published):
                print(json.dumps(row), flush=True)
                if given.out:
                    with given.out.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(row) + "\n")


class Bench:
    """The reference model, what is edited and scored, and a repository a method."""

    def __init__(self, kept: Path, scratch: Path, what: Trial) -> None:
        self.scratch, self.what = scratch, what
        self.untouched = load(open_model(str(MODEL)))
        self.empty = kept / "empty"
        if not self.empty.exists():
            entities = what.write_entities(scratch / "entities.jsonl")
            editvc.Repo.init(self.empty, str(MODEL), texts=[TEXT], entities=entities)

    def rows(
        self,
        name: str,
        label: str,
        ways: list[str],
        sizes: list[int],
        options: list[str],
        published: bool,
    ) -> Iterator[dict[str, Any]]:
        """The rows of one method, way by way, smallest size first."""
        if name == "base":
            yield self._row("base", "", 0, self.untouched, 0.0, 0)
            return
        repo = self._repo()
        recipe = repo.choose(name, options=options).recipe
        if published and isinstance(recipe, LocatedRecipe):
            recipe = as_published(recipe)
        made = {"set": self._set, "batch": self._batch, "sequential": self._sequential}
        for way in ways:
            measure = made.get(way) or partial(self._restrained, way)
            for row in measure(repo, label, recipe, sizes):
                yield row
                forgotten = row["edits"] >= 100 and row["eff"] < 10
                if forgotten or row["ppl"] > 5 * self.base_perplexity:
                    break

    def _set(
        self, repo: editvc.Repo, label: str, recipe: Recipe, sizes: list[int]
    ) -> Iterator[dict[str, Any]]:
        spent = 0.0
        for size in sizes:
            began = time.perf_counter()
            self._have(repo, recipe, size)
            spent += time.perf_counter() - began
            yield self._of_head(repo, label, "set", size, spent / size)

    def _batch(
        self, repo: editvc.Repo, label: str, recipe: Recipe, sizes: list[int]
    ) -> Iterator[dict[str, Any]]:
        for size in sizes:
            self._branch(repo, recipe, "batch", size)
            began = time.perf_counter()
            repo.squash(f"1..{repo.status().number}")
            yield self._of_head(repo, label, "batch", size, (time.perf_counter() - began) / size)

    def _restrained(
        self, way: str, repo: editvc.Repo, label: str, recipe: Recipe, sizes: list[int]
    ) -> Iterator[dict[str, Any]]:
        for size in sizes:
            self._branch(repo, recipe, way, size)
            began = time.perf_counter()
            repo.compact(RESTRAINTS[way])
            yield self._of_head(repo, label, way, size, (time.perf_counter() - began) / size)

    def _branch(self, repo: editvc.Repo, recipe: Recipe, way: str, size: int) -> None:
        """Go to a new branch that begins with the set of so many edits."""
        self._have(repo, recipe, size)
        repo.create_branch(f"{way}-{size}", at=f"set-{size}")
        repo.switch(f"{way}-{size}")

    def _have(self, repo: editvc.Repo, recipe: Recipe, size: int) -> None:
        """See to it that the branch ``set-<size>`` holds so many edits."""
        name = f"set-{size}"
        if any(branch.name == name for branch in repo.branches()):
            repo.switch(name)
            return
        if repo.live():
            repo.switch("main")
        repo.commit(self.what.facts[len(repo.live()) : size], recipe=recipe)
        repo.create_branch(name)

    def _sequential(
        self, repo: editvc.Repo, label: str, recipe: Recipe, sizes: list[int]
    ) -> Iterator[dict[str, Any]]:
        lm, spent, stored = load(open_model(str(MODEL))), 0.0, 0
        for done, fact in enumerate(self.what.facts[: max(sizes)], 1):
            began = time.perf_counter()
            request = fact.request
            materialiser = repo.session.materialiser
            (patch,) = make_in_sequence(materialiser, lm, [request], recipe, None)
            assert isinstance(patch, Patch), "no other element is applied one after the other"
            apply_delta(lm, patch.delta)
            spent += time.perf_counter() - began
            stored += len(patch.to_bytes())
            if done in sizes:
                yield self._row(label, "sequential", done, lm, spent / done, stored / done)

    def _repo(self) -> editvc.Repo:
        folder = Path(tempfile.mkdtemp(dir=self.scratch)) / "repo"
        shutil.copytree(self.empty, folder)
        return editvc.Repo(folder)

    def _of_head(
        self, repo: editvc.Repo, label: str, way: str, size: int, seconds: float
    ) -> dict[str, Any]:
        plumbing = repo.session.repository
        tree = plumbing.tree_of(plumbing.refs.head().commit)
        entries = list(plumbing.edits_of(tree).entries())
        stored = sum(len(plumbing.store.get(one.element)) for one in entries) / len(entries)
        with repo.session.edited(tree) as lm:
            return self._row(label, way, size, lm, seconds, stored)

    @property
    def base_perplexity(self) -> float:
        """The base's, over the same blocks."""
        if not hasattr(self, "_base_perplexity"):
            self._base_perplexity = self._perplexity(self.untouched)
        return self._base_perplexity

    def _perplexity(self, lm: LanguageModel) -> float:
        text = (MODEL.parents[1] / "data" / "wiki-test.txt").read_text(encoding="utf-8")
        return perplexity(lm, text, blocks=BLOCKS)

    @torch.no_grad()
    def _row(
        self, label: str, way: str, size: int, lm: LanguageModel, seconds: float, stored: float
    ) -> dict[str, Any]:
        edited = self.what.facts[: size or 100]
        facts = edited[:: max(1, len(edited) // SCORED)]
        facts = [replace(fact, locality=fact.locality[:NEIGHBOURS]) for fact in facts]
        reference = locality_answers(self.untouched, facts)
        scores = score(lm, facts, reference).to_json()
        some = facts[:: max(1, len(facts) // GENERATED)]
        texts = answers(lm, some, max_new_tokens=6)
        correct = [answers_correctly(text, fact) for text, fact in zip(texts, some, strict=True)]
        recall = forced(lm, self.what.recall[:RECALLED])
        return {
            "method": label, "way": way, "edits": size,
            **{name: round(value or 0.0, 1) for name, value in scores.items()},
            "gen": round(100 * sum(correct) / len(correct), 1),
            "ppl": round(min(self._perplexity(lm), 1e6), 1),
            **{name: round(v, 1) for name, v in task_accuracies(lm).items()},
            "recall": round(100 * sum(one.all_argmax for one in recall) / len(recall), 1),
            "seconds": round(seconds, 2),
            "kilobytes": round(stored / 1024, 1),
        }  # fmt: skip


def as_published(recipe: LocatedRecipe) -> LocatedRecipe:
    """MEMIT's own numbers for this model: nothing made up for, text alone guarded."""
    return LocatedRecipe(
        layers=recipe.layers,
        contexts=recipe.contexts,
        statistics=recipe.statistics,
        method=recipe.method,
        mom2_update_weight=100.0,
        entity_update_weight=0.0,
        delivery_factor=1.0,
        compensation=0.0,
        clamp_norm_factor=0.75,
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown, in the order of the table of methods, ways and sizes.

    A row that was measured again counts as it was measured last.
    """
    names = ["base", *METHODS]
    latest = {(row["method"], row["way"], row["edits"]): row for row in rows}
    ordered = sorted(
        latest.values(),
        key=lambda row: (
            names.index(row["method"].split()[0]), row["method"], WAYS.index(row["way"]),
            row["edits"],
        ),
    )  # fmt: skip
    lines = ["| method | way | edits | " + " | ".join(TITLES.values()) + " |"]
    lines.append("|---" * (len(TITLES) + 3) + "|")
    for row in ordered:
        cells = [str(row[name]) for name in ("method", "way", "edits", *TITLES)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
