"""Read files that are not as they should be, a great many, and count what is no clean error.

``python tests/fuzz/fuzz.py [--cases N] [--seconds S] [--seed SEED] [--only NAME]``, run by hand.
Every case is a sound file with one to three random changes, made of the seed, the target and the
number alone. What a reading function raises must be an ``EditvcError``, which the command line ends
with exit code 1 or 3; whatever else it raises would be 70. A case may take a second. The exit code
is 1 if any case was wrong; one example of each kind is printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from mutations import mutated
from targets import Target, targets

from editvc.errors import EditvcError

SLOW = 1.0
"""Seconds that a case may take."""


@dataclass
class Tally:
    """How many cases were read, by target; and the wrong ones by kind, with an example of each."""

    cases: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    slowest: float = 0.0

    def add(self, target: Target, seed: str) -> None:
        """Read one case."""
        rng = Random(seed)
        data = mutated(rng, rng.choice(target.examples))
        began = time.perf_counter()
        try:
            target.read(data)
        except EditvcError:
            self.refused[target.name] += 1
        except Exception as error:
            self.note(target.name, _kind(error), f"{seed}: {error!r:.200}")
        taken = time.perf_counter() - began
        self.slowest = max(self.slowest, taken)
        if taken > SLOW:
            self.note(target.name, "slow", f"{seed}: {taken:.1f} s")
        self.cases[target.name] += 1

    def note(self, target: str, kind: str, example: str) -> None:
        """One more wrong case of a kind."""
        number, first = self.wrong.get((target, kind), (0, example))
        self.wrong[target, kind] = (number + 1, first)


def _kind(error: Exception) -> str:
    """The class of an error and the last place in editvc that it came through."""
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if "/editvc/" in one.filename
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}"


def fuzz(over: Iterable[Target], seed: str, *, cases: int, seconds: float = float("inf")) -> Tally:
    """``cases`` of every target, in turns; fewer where ``seconds`` are over before."""
    over, tally, end = list(over), Tally(), time.monotonic() + seconds
    for number in range(cases):
        for target in over:
            if time.monotonic() > end:
                return tally
            tally.add(target, f"{seed}/{target.name}/{number}")
    return tally


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10**9, help="of every target")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", default="", help="targets whose name begins so")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        over = [one for one in targets(Path(folder)) if one.name.startswith(asked.only)]
        tally = fuzz(over, asked.seed, cases=asked.cases, seconds=asked.seconds)
    for name, count in tally.cases.items():
        print(f"{name}: {count} cases, {tally.refused[name]} refused")
    for (name, kind), (count, example) in sorted(tally.wrong.items()):
        print(f"WRONG {name}: {kind}, {count} times; {example}")
    wrong = sum(count for count, _ in tally.wrong.values())
    print(f"{tally.cases.total()} cases, {wrong} wrong, slowest {tally.slowest:.2f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
