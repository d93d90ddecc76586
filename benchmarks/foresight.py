"""Whether harm is foreseen: disabling edits before their commit, collapse before it comes.

    python benchmarks/foresight.py --part atlas --numbers 10:220
    python benchmarks/foresight.py --part smollm2 --numbers 3:143
    python benchmarks/foresight.py --part blind
    python benchmarks/foresight.py --part set
    python benchmarks/foresight.py --part default
    python benchmarks/foresight.py                # the score, the figures, docs/foresight.md

Rows are appended to docs/data/foresight.jsonl as they are measured; one that is there is not
measured again. Without a part, the score is fitted on the rows, ``editvc/data/disabling.json`` is
written, and the page with its figures: the same rows give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foresight_edits import SUBJECTS, Trials
from foresight_report import write_report
from foresight_score import fitted, halves
from foresight_sequences import FIRST, RUNS, rows
from real_data import atlas_collection

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "docs" / "data" / "foresight.jsonl"
SCORE = ROOT / "editvc" / "data" / "disabling.json"


def main() -> None:
    """Parse; measure one part, or write what follows from all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=(*SUBJECTS, *RUNS))
    parser.add_argument("--numbers", default="0:200", help="edits to make, START:STOP")
    parser.add_argument("--scratch", type=Path, default=ROOT / ".foresight",
                        help="repositories are kept here, for a run that goes on")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROWS)
    given = parser.parse_args()
    known = read(given.out)
    if given.part is None:
        calibration, _ = halves(row for row in known if row["part"] == "edit")
        SCORE.write_text(json.dumps(fitted(calibration), indent=2) + "\n", encoding="utf-8")
        write_report(known, ROOT / "docs")
        return
    for row in measured(given.part, given.numbers, given.scratch, known):
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def measured(
    part: str, numbers: str, scratch: Path, known: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows of a part that are not known yet."""
    if part in RUNS:
        yield from rows(part, scratch, atlas_collection(FIRST.get(part, 0), 1100))
        return
    have = {row["number"] for row in known if row.get("model") == part}
    start, stop = map(int, numbers.split(":"))
    missing = [number for number in range(start, stop) if number not in have]
    yield from Trials(SUBJECTS[part], scratch).rows(missing)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
