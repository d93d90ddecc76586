"""What one layer of a large model costs: solve, gates, export, passes; and a plan made of that.

    python benchmarks/shapes.py [--upto 4096] [--share 0.5] [--parts PART ...] [--table]

Every case is a process of its own, on one thread, with random numbers of the shapes of a layer (u,
v): what is timed does not look at their meaning. Shapes double from u 512, v 1792 to an 8B model's
(4096, 14336) and a 70B model's (8192, 28672). A case whose memory, foreseen from the smaller one
before it, is more than --share of what is free is left out: the plan goes on from the smaller ones
by their slope. Writes docs/data/shapes.jsonl, and the tables of docs/scale.md; --table only those.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shapes_parts import PARTS, ROOT, Case
from shapes_plan import write_tables
from shapes_rows import Row, read

PAGE, KEPT = ROOT / "docs" / "scale.md", ROOT / "docs" / "data" / "shapes.jsonl"
SHAPES = ((512, 1792), (1024, 3584), (2048, 7168), (4096, 14336), (8192, 28672))
SMOLLM2 = ".models/smollm2"


def main() -> None:
    """Measure, keep the rows, and write the tables; with ``--case``, measure one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--upto", type=int, default=8192, help="the largest u")
    parser.add_argument("--share", type=float, default=0.5, help="of free memory, for a case")
    parser.add_argument("--memory", type=float, default=1024, help="GiB of the planned machine")
    parser.add_argument("--case", type=json.loads)
    parser.add_argument("--rows", type=Path, default=KEPT)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--table", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measured(options.case)))
        return
    kept: Path = options.rows
    if not options.table:
        rows = [one for one in read(kept) if one["part"] not in options.parts]
        for row in measure(options.parts, options.upto, options.share):
            rows.append(row)
            kept.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    write_tables(options.page, read(kept), options.memory)


# -- cases ----------------------------------------------------------------------------------


def cases(part: str, upto: int) -> Iterator[Case]:
    """The cases of a part, each after those that its memory is foreseen from."""
    for u, v in SHAPES:
        if u > upto:
            return
        shape = {"part": part, "u": u, "v": v}
        small = v <= 3584
        if part == "locating":
            yield from (
                {"part": part, "method": method, "model": model}
                for method, model in (("memit", "pocket"), ("gated", "pocket"), ("gated", SMOLLM2))
                if model == "pocket" or (ROOT / model).is_dir()
            )
            return
        if part == "idle":
            yield {"part": part}
            return
        if part == "solve":
            yield from (
                shape | {"n": n} for n in (100, 1000, 4000) if n < v and n * v <= 4000 * 7168
            )
            yield from (shape | {"n": n * v} for n in (1, 2, 4) if small and n * v < 8000)
        elif part == "change":
            yield from (shape | {"n": n} for n in (1000, 2000, 4000, 8000) if u == 512)
        elif part == "gates":
            yield from (shape | {"n": n} for n in (100, 1000, 4000))
        elif part == "export":
            yield from (shape | {"n": n, "layers": layers} for n, layers in ((100, 1), (100, 2)))
            yield shape | {"n": 1000, "layers": 1}
        elif part == "widen":
            yield from (shape | {"n": n, "layers": 1} for n in (100, 1000))
        elif part == "pass":
            yield from (shape | {"n": tokens} for tokens in (64, 256))
        else:
            yield shape


def measure(parts: Sequence[str], upto: int, share: float) -> Iterator[Row]:
    """A row for each case that has room."""
    for part in parts:
        peaks = dict[tuple[Any, ...], float]()  # by what a case has beside its shape
        for case in cases(part, upto):
            kind = (case.get("n"), case.get("layers"))
            foreseen = 4 * peaks.get(kind, 0.0)  # twice u and v
            if foreseen > share * free():
                print(f"no room: {case}, {foreseen / 2**30:.1f} GiB", file=sys.stderr)
                continue
            command = [sys.executable, __file__, "--case", json.dumps(case)]
            alone = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=alone, check=True, stdout=subprocess.PIPE)
            row: Row = json.loads(done.stdout)
            peaks[kind] = row["peak"]
            print(json.dumps(row), file=sys.stderr)
            yield row


def free() -> float:
    """Bytes of memory that a process can have without another one losing some."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(1024 * int(one.split()[1]) for one in lines if one.startswith("MemAvailable"))


def measured(case: Case) -> Row:
    """One case: processor seconds by step, and the most memory that this process had."""
    taken: dict[str, float] = {}
    last = [0.0]

    def clock(name: str) -> None:
        now = time.process_time()
        if name:
            taken[name] = now - last[0]
        last[0] = time.process_time()

    found = PARTS[case["part"]](case, clock)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return case | {"peak": peak, "processor": taken} | dict(found)


if __name__ == "__main__":
    main()
