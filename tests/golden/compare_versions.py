"""Compare two versions of editvc byte by byte: what they store and export, and what they print.

``python tests/golden/compare_versions.py OLD [NEW] [--except REGEX]``, run by hand, takes two
checkouts; NEW is this one where it is not named. Both make the golden repositories from the same
inputs, and both report on the ones that OLD made. Compared are

- what is stored: every object's id and bytes, the rows of the index, ``config.toml``;
- what is exported and published, by the sha256 of every file;
- what every command prints, and its exit code.

What differs is listed, and the exit code is 1. ``--except`` leaves out entries whose name matches:
commands that are meant to print something else by now. Numbers differ between processors, so both
sides run here and now, each with one thread and a hash seed of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from golden_commands import TRANSCRIPT, environment
from golden_inputs import write_inputs
from report_repository import REPORT
from stored_objects import FOLDER, kinds, objects, record_of, rows

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHOWN_LINES = 12

Entries = Mapping[str, str]
"""Texts and digests by the name of what they belong to."""


def main() -> int:
    """Make, report and compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--except", dest="left_out", metavar="REGEX", help="names to leave out")
    arguments = parser.parse_args()
    for checkout in (arguments.old, arguments.new):
        if not (checkout / "editvc" / "__init__.py").is_file():
            parser.error(f"there is no editvc in {checkout}")
    with tempfile.TemporaryDirectory(prefix="editvc-golden-") as scratch:
        sides = both_sides(arguments.old.resolve(), arguments.new.resolve(), Path(scratch))
    total = 0
    for title, (old, new) in sides.items():
        names = differing(old, new)
        if arguments.left_out is not None:
            names = [name for name in names if not re.search(arguments.left_out, name)]
        total += len(names)
        print(f"{title}: {len(old)} entries, {len(names)} differ")
        for name in names:
            print(f"\n  {name}\n{difference(old.get(name), new.get(name))}")
    return 1 if total else 0


def both_sides(old: Path, new: Path, scratch: Path) -> dict[str, tuple[Entries, Entries]]:
    """By title, the entries of the old checkout and those of the new one."""
    first, second = scratch / "old", scratch / "new"
    first.mkdir()
    write_inputs(first)
    shutil.copytree(first, second)
    run_together("make_repository.py", {old: first, new: second})
    sides = {
        "printed while making": (read_json(first / TRANSCRIPT), read_json(second / TRANSCRIPT)),
        "stored": (stored(first), stored(second)),
    }
    print(coverage(first))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    run_together("report_repository.py", {old: first, new: second})
    reports = read_json(first / REPORT), read_json(second / REPORT)
    return sides | {"shown and exported of what OLD made": reports}


def run_together(script: str, places: Mapping[Path, Path]) -> None:
    """Run a script with the editvc of several checkouts at once, each in its place."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / script), str(place)],
            env=environment(place) | {"PYTHONPATH": str(checkout)},
        )
        for checkout, place in places.items()
    ]
    if any([process.wait() for process in processes]):
        raise SystemExit(f"{script} failed")


def stored(place: Path) -> dict[str, str]:
    """What the repositories hold: objects by id, the index's rows, the settings."""
    entries: dict[str, str] = {}
    for work in sorted(place.glob("*/work")):
        family = work.parent.name
        for identifier, kind in kinds(work).items():
            entries[f"{family} object {identifier}"] = kind
        for table, lines in rows(work).items():
            entries[f"{family} table {table}"] = "\n".join(json.dumps(line) for line in lines)
        entries[f"{family} config.toml"] = (work / FOLDER / "config.toml").read_text("utf-8")
    return entries


def coverage(place: Path) -> str:
    """How many objects of each kind, and recipes of each method, the repositories hold."""
    counts: Counter[str] = Counter()
    for work in place.glob("*/work"):
        for record in map(record_of, objects(work).values()):
            counts[record["kind"]] += 1
            if record["kind"] == "recipe":
                counts[f"recipe of {record['method']}"] += 1
    return "OLD made: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def differing(old: Entries, new: Entries) -> list[str]:
    """The names of entries that are not the same on both sides, in the old order."""
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def difference(old: str | None, new: str | None) -> str:
    """The first lines of a difference."""
    if old is None or new is None:
        return f"    only {'NEW' if old is None else 'OLD'} has it"
    lines = list(unified_diff(old.splitlines(), new.splitlines(), "OLD", "NEW", n=0, lineterm=""))
    if len(lines) > SHOWN_LINES:
        lines[SHOWN_LINES:] = [f"... and {len(lines) - SHOWN_LINES} lines more"]
    return "\n".join(f"    {line}" for line in lines)


def read_json(path: Path) -> dict[str, str]:
    """A document of texts by name."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
