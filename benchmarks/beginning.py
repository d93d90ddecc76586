"""Where the time of `init` and of a first commit goes, beside another checkout in the same run.

    python benchmarks/beginning.py --model DIR --records FILE --against CHECKOUT
        [--skip 100] [--count 100] [--names N] [--threads 2]

Both checkouts make a repository over DIR and commit the same facts with their defaults, turn by
turn, each in a process of its own. Prints processor seconds by part, and how many times less the
newer one takes: on a machine that others use only such ratios mean anything. --names takes the
first so many of the bundled names, for a quick look.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "init": (
        ("editvc.porcelain.init", "load", "loading"),
        ("editvc.statistics.bundle", "text_moments", "keys of text"),
        ("editvc.statistics.bundle", "entity_moments", "keys of names"),
        ("editvc.statistics.bundle", "sensitivity", "sensitivity"),
        ("editvc.porcelain.init", "sample_contexts", "contexts"),
    ),
    "commit": (
        ("editvc.models.loading", "load", "loading"),
        ("editvc.porcelain.commit", "make_plan", "what is known"),
        ("editvc.materialise.stored_preconditioners", "Preconditioners.of", "preconditioners"),
        ("editvc.editing.locate", "find_targets", "targets"),
        ("editvc.editing.locate", "spread_single_edits", "spread"),
        ("editvc.porcelain.commit", "failed_facts", "check"),
    ),
}
"""What is timed: functions by module and name, in words."""

Times = dict[str, float]
"""Processor seconds of each part."""


class Clock:
    """Processor seconds by part, those of a part within another counted once, for the inner one."""

    def __init__(self) -> None:
        self.seconds: Times = defaultdict(float)
        self._within = [0.0]

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, with its seconds added at every call."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            self._within.append(0.0)
            try:
                return call(*args, **kwargs)
            finally:
                spent = time.process_time() - began
                self.seconds[name] += spent - self._within.pop()
                self._within[-1] += spent

        return wrapped


def run_verb(verb: str, place: Path, options: argparse.Namespace) -> Times:
    """``init`` or ``commit`` in this process, with the editvc that Python finds."""
    import torch

    torch.set_num_threads(options.threads)
    clock = Clock()
    for module, path, words in PARTS[verb]:
        owner: Any = importlib.import_module(module)
        *above, name = path.split(".")
        for part in above:
            owner = getattr(owner, part)
        setattr(owner, name, clock.timed(words, getattr(owner, name)))
    from editvc import Repo

    def init() -> None:
        names = place.parent / "names.txt"
        bundled = ROOT / "editvc" / "data" / "entities.txt"
        lines = bundled.read_text(encoding="utf-8").splitlines()[: options.names]
        names.write_text("\n".join(lines), encoding="utf-8")
        Repo.init(place, str(options.model), entities=names)

    def commit() -> None:
        lines = options.records.read_text(encoding="utf-8").splitlines()
        facts = place.parent / "facts.jsonl"
        chosen = lines[options.skip : options.skip + options.count]
        facts.write_text("\n".join(chosen), encoding="utf-8")
        Repo(place).commit(facts, supersede=True)

    clock.timed(f"rest of {verb}", {"init": init, "commit": commit}[verb])()
    return dict(clock.seconds)


def in_checkout(checkout: Path, verb: str, place: Path, options: argparse.Namespace) -> Times:
    """:func:`run_verb` in a process that imports the editvc of ``checkout``."""
    command = [
        sys.executable, __file__, "--child", verb, "--place", str(place),
        "--model", str(options.model), "--records", str(options.records),
        "--skip", str(options.skip), "--count", str(options.count),
        "--threads", str(options.threads),
    ]  # fmt: skip
    if options.names is not None:
        command += ["--names", str(options.names)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    times: Times = json.loads(done.stdout.splitlines()[-1])
    return times


def show(verb: str, before: Times, now: Times) -> None:
    """A table of one verb's parts, the dearest first."""
    print(f"\n{verb:<18}{'before':>10}{'now':>10}{'ratio':>8}   processor seconds")
    rows = [(name, before[name], now[name]) for name in sorted(before, key=before.__getitem__)]
    rows = [*reversed(rows), ("all", sum(before.values()), sum(now.values()))]
    for name, old, new in rows:
        print(f"{name:<18}{old:>10.1f}{new:>10.1f}{old / max(new, 1e-9):>8.1f}", flush=True)


def main() -> None:
    """Run both checkouts turn by turn, or one verb where this is a child."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--skip", type=int, default=100)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--names", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", choices=tuple(PARTS))
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run_verb(options.child, options.place, options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for verb in PARTS:
            before, now = (
                in_checkout(checkout, verb, Path(scratch) / name, options)
                for checkout, name in ((options.against, "before"), (ROOT, "now"))
            )
            show(verb, before, now)


if __name__ == "__main__":
    main()
