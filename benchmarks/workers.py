"""One commit in one process, and over one and two workers of a local Ray engine: time, and its id.

    python benchmarks/workers.py [--facts 400] [--method NAME] [--workers 0 1 2] [--model DIR]

Every way gets a process and a copy of one repository, with one thread to each process. Seconds by
the wall are what matters on a quiet machine; `load` tells how quiet it was (processes that wanted a
core on average in the last minute, these included). CPU seconds say what others took no part in:
`driver` is this process, `workers` those of each worker, and `path` the driver's with the busiest
worker's, which is what a quiet machine of enough cores would take if nothing waited. The time that
Ray and its workers take to start is part of every row but 0, which is without Ray. Ray lets workers
give way to all else (nice 15); here they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from editvc import Repo
from editvc.core.fact_files.reader import read_facts

SHARED = Path(__file__).resolve().parents[2] / "shared"
FIRST = 1000
"""Records below are kept for the tables of scores."""


class WorkerClock:
    """CPU seconds of the worker processes below this one, as they are at each sign of progress."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self.first: float | None = None
        self.began = time.perf_counter()

    def __call__(self, label: str, done: int, _total: int) -> None:
        """As :data:`editvc.core.progress.Progress` is called."""
        if label != "facts" or not done:
            return
        self.first = self.first or time.perf_counter() - self.began
        for process in psutil.Process().children(recursive=True):
            if process.name().startswith("ray::"):
                times = process.cpu_times()
                self.seconds[process.pid] = times.user + times.system


def measured(options: argparse.Namespace) -> dict[str, object]:
    """One commit, in this process or over ``options.run`` workers."""
    records = SHARED / "data" / "records-dev.jsonl"
    lines = records.read_text(encoding="utf-8").splitlines()[FIRST : FIRST + options.facts]
    facts = [one.fact for one in read_facts([("records", "\n".join(lines))])]
    clock = WorkerClock()
    repo = Repo(
        options.repo, clock=lambda: 0, progress=clock, workers=options.run or None,
    )  # fmt: skip
    began = time.perf_counter()
    done = repo.commit(facts, recipe=repo.choose(options.method).recipe, author="nobody <>")
    wall, driver = time.perf_counter() - began, time.process_time()
    workers = sorted(seconds for seconds in clock.seconds.values() if seconds > 1)
    return {
        "workers": options.run,
        "wall": round(wall, 1),
        "first batch": round(clock.first or 0, 1),
        "driver": round(driver, 1),
        "worker CPU": [round(one, 1) for one in workers],
        "path": round(driver + max(workers, default=0), 1),
        "load": round(os.getloadavg()[0], 1),
        "commit": done.id[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--facts", type=int, default=400)
    parser.add_argument("--method")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "atlas-gpt2")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--repo", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        print(json.dumps(measured(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        Repo.init(whole, str(options.model), method=options.method)
        for count in options.workers:
            place = Path(folder) / f"over-{count}"
            shutil.copytree(whole, place)
            again = [sys.executable, __file__, "--run", str(count), "--repo", str(place)]
            again += ["--facts", str(options.facts)]
            again += ["--method", options.method] if options.method else []
            environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
            subprocess.run(again, check=True, env=environment)


if __name__ == "__main__":
    main()
