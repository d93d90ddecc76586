"""The five papers' tables, figures and claims, measured on models at hand.

    python benchmarks/papers.py                       # every part that is missing, then the page
    python benchmarks/papers.py --list                # parts, their times, and what is missing
    python benchmarks/papers.py --part updates --part forms
    python benchmarks/papers.py --part updates --no-report

A part's settings are measured one by one, each appended to ``docs/data/papers/PART.jsonl``; one
that is there, of the same code, is not measured again, so a stopped run goes on where it was.
docs/papers.md and its figures are made of these files and of the claims in ``experiments``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.page import write_page
from experiments.parts import PARTS, Part
from experiments.rows import Rows

import editvc
from editvc.errors import EditvcError

ROOT = Path(__file__).resolve().parent.parent
NUMERICAL = tuple(f"editvc/{name}" for name in ("algebra", "editing", "evaluation", "models"))
"""What a measured number hangs on, beside how it is measured."""
JUDGED = ("page.py", "figures.py", "items.py", "parts.py", "claims")
"""Of ``experiments``, what only reads rows."""


def main() -> None:
    """Parse, measure what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="this one alone; repeatable")
    parser.add_argument("--list", action="store_true", help="tell the parts, and measure none")
    parser.add_argument("--most", type=int, help="leave out settings of more edits, or items")
    parser.add_argument("--scratch", type=Path, help="keep repositories here, for the next run")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "data" / "papers")
    parser.add_argument(
        "--any-code", action="store_true", help="rows of other code are not measured again, either"
    )
    parser.add_argument("--no-report", action="store_true", help="measure, and write no page")
    given = parser.parse_args()
    rows = Rows(given.out, code_version(), given.any_code)
    if given.list:
        for part in PARTS.values():
            print(listed(part, rows))
        return
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in (PARTS[name] for name in given.part or PARTS):
            failed += run(part, rows, given.most, given.scratch or Path(scratch))
    if not given.no_report:
        write_page(rows, ROOT / "docs")
    if failed:
        sys.exit("\n".join(["These rows are missing:", *failed]))


def listed(part: Part, rows: Rows) -> str:
    """A part's line."""
    done = sum(rows.has(part.name, setting) for setting in part.settings)
    other = len(rows.latest(part.name)) - done
    return (
        f"{part.name:16} {part.model:8} {part.minutes:4} min  "
        f"{done}/{len(part.settings)} measured, "
        f"{other} by other code  {part.what}"
    )


def run(part: Part, rows: Rows, most: int | None, scratch: Path) -> list[str]:
    """Measure the settings of a part that are missing; what failed, in words."""
    missing = [
        setting
        for setting in part.settings
        if not rows.has(part.name, setting)
        and (most is None or setting.get("edits", setting.get("items", 0)) <= most)
    ]
    if not missing:
        return []
    from experiments.bench import opened

    bench, measure, failed = opened(part.model, scratch), part.function(), []
    for setting in missing:
        print(f"{part.name} {setting}", file=sys.stderr, flush=True)
        began = time.process_time()
        try:
            numbers = measure(bench, setting)
        except EditvcError as error:
            failed.append(f"{part.name} {setting}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
            continue
        rows.add(part.name, setting, numbers, time.process_time() - began)
    return failed


def code_version() -> str:
    """The last commit that changed what is measured, with a + where changes are not committed.

    The package's version where there is no checkout.
    """
    measuring = ["benchmarks/experiments", "benchmarks/real_data.py", "benchmarks/atlas.py"]
    paths = [*NUMERICAL, *measuring, *(f":!benchmarks/experiments/{name}" for name in JUDGED)]

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
