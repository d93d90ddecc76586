"""Every method on the reference model, after 1, 10, 100, 500 and 1000 edits.

    python benchmarks/methods.py --out methods.jsonl --methods memit,rome --ways set,sequential
    python benchmarks/methods.py --table methods.jsonl

The ways are those of :mod:`ways`, where a method has them. A method that
has collapsed (less than a tenth of a hundred edits said, or five times the base's perplexity) is
not taken further. Rows are appended to ``--out`` as they are measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from atlas import MODEL, TEXT, Trial, task_accuracies, trial
from ways import WAYS, Workshop, as_published

import editvc
from editvc.core.methods.table import DEFAULT, METHODS
from editvc.evaluation.probes import forced, perplexity
from editvc.evaluation.scores import answers, answers_correctly, locality_answers, score
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model

SIZES = (1, 10, 100, 500, 1000)
SCORED = 100
"""Facts scored, evenly spaced among those edited: a standard error of up to 5 points."""
NEIGHBOURS = 3
GENERATED = 50
BLOCKS = 40
RECALLED = 200
PUBLISHED_WEIGHT = 100.0
"""MEMIT's lambda for this model, as the data's first tries have it."""
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
            editvc.Repo.init(
                self.empty, str(MODEL), texts=[TEXT], entities=entities, method=DEFAULT
            )

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
        folder = Path(tempfile.mkdtemp(dir=self.scratch)) / "repo"
        workshop = Workshop(self.empty, folder, self.what.facts)
        recipe = workshop.repo.choose(name, options=options).recipe
        if published:
            recipe = as_published(recipe, PUBLISHED_WEIGHT)
        for way in ways:
            for one in workshop.edited(way, recipe, sizes):
                row = self._row(label, way, one.edits, one.lm, one.seconds, one.stored)
                yield row
                forgotten = row["edits"] >= 100 and row["eff"] < 10
                if forgotten or row["ppl"] > 5 * self.base_perplexity:
                    break

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
