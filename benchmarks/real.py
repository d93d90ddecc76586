"""Every method on a real chat model, after 1, 10, 100 and 400 edits: table and figures.

    python benchmarks/real.py                                # all rows, then table and figures
    python benchmarks/real.py --rows gated:set --records 100:400 --sizes 1,10,100,300
    python benchmarks/real.py --model atlas --records 0:1000 --sizes 1,10,100,1000

SmolLM2-135M-Instruct is made where it is missing. A row is a method and a way (:mod:`ways`). At 1
each of 30 records, evenly spaced among the first hundred, is edited alone, and the scores are
means. Rows are appended to ``--out``; one that is there, of the same code, is not run again.
Table and figures are made of that file (:mod:`report`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from atlas import MODEL
from real_data import REAL, Collection, atlas_collection, real_collection, training_facts
from report import write_report
from scoring import Row, Scorer, load_in, spaced
from ways import Workshop

import editvc
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import DEFAULT, METHODS, RECIPES, method_of
from editvc.errors import EditvcError

ROOT = Path(__file__).resolve().parent.parent
SMOLLM2 = ROOT / ".models" / "smollm2"
ROWS = (
    *(f"{name}:set" for name in METHODS if name in RECIPES),
    *(f"{name}:published" for name in ("memit", "rome", "alphaedit")),
)
SIZES = (1, 10, 100, 400)
ALONE, ALONE_OF = 30, 100
"""Records that are edited alone, of the first so many."""
TEXTS_ALONE = 3
"""Of those, on how many perplexities and tasks are measured."""
DTYPES = {"smollm2": torch.bfloat16, "atlas": torch.float32}
"""What models are scored in: the one is published in bfloat16, the other in float16."""


def main() -> None:
    """Parse, run what is missing, append, write table and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("smollm2", "atlas"), default="smollm2")
    parser.add_argument("--base", type=Path, help="the model's folder; made where it is missing")
    parser.add_argument("--data", type=Path, default=REAL, help="records, facts and tasks")
    parser.add_argument("--records", default="0:400", help="records to edit, START:STOP")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--rows", default=",".join(ROWS), help="METHOD:WAY, with commas between")
    parser.add_argument("-O", dest="options", action="append", default=[], help="key=value")
    parser.add_argument("--label", help="what the rows call it, where options change a method")
    parser.add_argument("--scratch", type=Path, help="keep the empty repository here, for reuse")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "data" / "real.jsonl")
    parser.add_argument("--no-report", action="store_true", help="measure, and draw nothing")
    given = parser.parse_args()
    start, stop = (int(part) for part in given.records.split(":"))
    sizes = [size for size in map(int, given.sizes.split(",")) if size <= stop - start]
    if given.model == "atlas":
        base, collection = MODEL, atlas_collection(start, stop)
    else:
        base, collection = given.base or SMOLLM2, real_collection(given.data, start, stop)
        make_model(base)
    rows = Rows(given.out, collection.name, start)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(base, collection, given.scratch or Path(scratch), Path(scratch))
        for row in ("base:", *given.rows.split(",")):
            method, _, way = row.partition(":")
            label = given.label or method
            try:
                missing = [size for size in sizes if not rows.has(label, way, size)]
                for measured in bench.rows(method, way, missing, given.options):
                    rows.add(label, way, measured)
            except EditvcError as error:
                failed.append(f"{row}: {error}")
                print(failed[-1], file=sys.stderr, flush=True)
    if not given.no_report and collection.name == "smollm2":
        write_report(given.out, ROOT / "docs")
    if failed:
        sys.exit("\n".join(["These rows are missing:", *failed]))


@dataclass(frozen=True, slots=True)
class Measured:
    """After ``edits`` edits: scores, and what one edit took."""

    edits: int
    scores: Row
    seconds: float = 0.0
    stored: float = 0.0


class Rows:
    """The file of rows, of one model and of records from ``start`` on, at the code of today."""

    def __init__(self, path: Path, model: str, start: int) -> None:
        self.path, self.model, self.start, self.code = path, model, start, code_version()
        self.found = set()
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                self.found.add(self._key(json.loads(line)))

    def has(self, label: str, way: str, edits: int) -> bool:
        """Whether a row is there; rows of code that was not committed never count."""
        return self._key(self._head(label, way, edits)) in self.found and "+" not in self.code

    def add(self, label: str, way: str, measured: Measured) -> None:
        """Append a row, and print it."""
        row = self._head(label, way, measured.edits) | {
            name: value if value is None else round(value, 2)
            for name, value in measured.scores.items()
        }
        row |= {"seconds": round(measured.seconds, 3), "bytes": round(measured.stored)}
        print(json.dumps(row), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def _head(self, label: str, way: str, edits: int) -> dict[str, Any]:
        records = f"{self.start}:{self.start + (ALONE_OF if edits == 1 else edits)}"
        return {
            "model": self.model, "method": label, "way": way, "edits": edits, "records": records,
            "code": self.code,
        }  # fmt: skip

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("model", "method", "way", "edits", "records", "code"))


class Bench:
    """A base, what is edited in it, and an empty repository that every row copies."""

    def __init__(self, base: Path, collection: Collection, kept: Path, scratch: Path) -> None:
        self.base, self.collection, self.scratch = base, collection, scratch
        self.empty = kept / f"empty-{collection.name}"
        self.scorer = Scorer(load_in(str(base), DTYPES[collection.name]), collection)

    def rows(
        self, method: str, way: str, sizes: Sequence[int], options: Sequence[str]
    ) -> Iterator[Measured]:
        """One row for each size, the smallest first."""
        if not sizes:
            return
        if method == "base":
            yield from self._base(sizes)
            return
        method_of(method)  # an unknown name is told before anything is made
        workshop = self._workshop()
        if "editor" in method_of(method).needs:
            workshop.repo.train_mend(training_facts(self.collection))
        recipe = workshop.repo.choose(method, options=options).recipe
        several = [size for size in sizes if size > 1]
        if 1 in sizes:
            yield self._alone(workshop, way, recipe)
        for one in workshop.edited(way, recipe, several) if several else ():
            records = self.collection.records[: one.edits]
            lm = self.scorer.like_base(one.lm)
            scores = self.scorer.score(lm, records) | self.scorer.of_tasks(lm)
            yield Measured(one.edits, scores, one.seconds, one.stored)

    def _base(self, sizes: Sequence[int]) -> Iterator[Measured]:
        lm = self.scorer.base
        fixed = self.scorer.of_text(lm) | self.scorer.of_tasks(lm)
        for size in sizes:
            records = self.collection.records[: ALONE_OF if size == 1 else size]
            yield Measured(size, self.scorer.of_edits(lm, records) | fixed)

    def _alone(self, workshop: Workshop, way: str, recipe: Recipe) -> Measured:
        each = []
        for number, record in enumerate(spaced(self.collection.records[:ALONE_OF], ALONE)):
            with workshop.alone(way, recipe, record.fact) as one:
                lm = self.scorer.like_base(one.lm)
                scores = self.scorer.of_edits(lm, [record])
                if number < TEXTS_ALONE:
                    scores |= self.scorer.of_text(lm) | self.scorer.of_tasks(lm)
                each.append(Measured(1, scores, one.seconds, one.stored))
        return mean(each)

    def _workshop(self) -> Workshop:
        if not self.empty.exists():
            whole = self.scratch / "empty"
            entities = self.scratch / "entities.jsonl"
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in self.collection.entities)
            entities.write_text("".join(lines), encoding="utf-8")
            editvc.Repo.init(
                whole,
                str(self.base.resolve()),
                texts=self.collection.statistics,
                entities=entities if self.collection.entities else None,
                method=DEFAULT,
            )
            self.empty.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(whole, self.empty)
        folder = Path(tempfile.mkdtemp(dir=self.scratch)) / "repo"
        return Workshop(self.empty, folder, [one.fact for one in self.collection.records])


def mean(rows: Sequence[Measured]) -> Measured:
    """Means over single edits; S and Avg are those of the means, as over a set."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    scores: Row = {}
    for name in names:
        values = [row.scores[name] for row in rows if row.scores.get(name) is not None]
        scores[name] = statistics.mean(values) if values else None
    scores["s"] = combined(statistics.harmonic_mean, scores, ("es", "ps", "ns"))
    scores["avg"] = combined(statistics.mean, scores, ("eff", "par", "spe"))
    return Measured(
        1,
        scores,
        statistics.mean(row.seconds for row in rows),
        statistics.mean(row.stored for row in rows),
    )


def combined(
    how: Callable[[list[float]], float], scores: Row, names: Sequence[str]
) -> float | None:
    """One score of several; None where one of them is."""
    values = [value for name in names if (value := scores[name]) is not None]
    return how(values) if len(values) == len(names) else None


def make_model(folder: Path) -> None:
    """SmolLM2-135M-Instruct, unless it is there. In a process of its own, for its memory."""
    script = ROOT / "examples" / "smollm2.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)


def code_version() -> str:
    """The last commit that changed what is measured, with a + where changes are not committed.

    The package's version where there is no checkout.
    """
    paths = ("editvc", "benchmarks", ":!benchmarks/report.py")

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words, "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("log", "-1", "--format=%h") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return editvc.__version__


if __name__ == "__main__":
    main()
