"""Targets of many edits in one batch, against MEMIT's loop written plainly.

    python benchmarks/locating.py [--edits 48] [--threads 2] [--model DIR] [--records FILE]

Both ways search the same targets in the same run: the plain one (tests/support/plain_memit.py)
takes one edit at a time and runs the whole model over every padded token of every prompt at every
step, with logits at every position. Prints the ratio of times, how far the targets lie apart, and
where the batched way spends its time. CPU seconds are the measure on a machine that others use,
with --threads 1; wall-clock seconds on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from editvc.core.facts import Request
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing import target_search
from editvc.editing.edit_batches import MEMORY
from editvc.editing.target_search import find_targets
from editvc.models.context_prefixes import sample_contexts
from editvc.models.loading import load
from editvc.models.source import open_model

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
sys.path.insert(0, str(ROOT / "tests" / "support"))

from plain_memit import compute_z  # noqa: E402

FIRST = 1000
"""Records below are kept for the tables of scores."""


def requests_of(path: Path, count: int) -> list[Request]:
    lines = path.read_text(encoding="utf-8").splitlines()[FIRST : FIRST + count]
    rewrites = [json.loads(line)["requested_rewrite"] for line in lines]
    return [Request(r["subject"], r["prompt"], r["target_new"]["str"]) for r in rewrites]


class Clock:
    """Wall and CPU seconds, summed by name."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Time the body of a ``with``."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall[name] += time.perf_counter() - wall
            self.cpu[name] += time.process_time() - cpu

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, timed at every call."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.running(name):
                return call(*args, **kwargs)

        return wrapped


@contextmanager
def broken_down(clock: Clock) -> Iterator[None]:
    """Times the parts of the batched way; each is put back as it was."""
    places = [
        (target_search, "tokenize_edits", "tokens"),
        (target_search, "prepare_replay", "base, once"),
        (target_search.SuffixReplay, "replay", "blocks, forward"),
        (target_search._Batch, "_head", "head, forward"),
        (torch.autograd, "grad", "backward"),
        (target_search._Batch, "_drop", "dropping rows"),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, label in places:
            setattr(owner, name, clock.timed(label, getattr(owner, name)))
        yield
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edits", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=MEMORY)
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "atlas-gpt2")
    parser.add_argument("--records", type=Path, default=SHARED / "data" / "records-dev.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    lm = load(open_model(str(options.model)))
    requests = requests_of(options.records, options.edits)
    recipe = LocatedRecipe(
        layers=(0, 1, 2, 3),
        contexts=sample_contexts(lm, 0),
        statistics=ObjectId("0" * 64),
    )
    block = lm.block(recipe.layers[-1])
    find_targets(lm, requests[:2], recipe)

    clock = Clock()
    with broken_down(clock), clock.running("batched"):
        targets = find_targets(lm, requests, recipe, memory=options.memory)
    with clock.running("plain"):
        plain = [compute_z(lm.model, lm.tokenizer, block, one, recipe) for one in requests]

    apart = torch.tensor(
        [
            float((target.z - hidden - delta).norm() / (hidden + delta).norm())
            for target, (hidden, delta, _) in zip(targets, plain, strict=True)
        ]
    )
    steps = sum(target.figures["steps"] for target in targets) / len(targets)
    print(
        f"{len(requests)} edits, {len(recipe.contexts)} contexts, {options.threads} threads, "
        "float32"
    )
    print(f"steps taken per edit: {steps:.1f} of {recipe.v_num_grad_steps - 1}")
    for name in ("plain", "batched"):
        wall, cpu = clock.wall[name] / len(requests), clock.cpu[name] / len(requests)
        print(f"{name:>8}: {wall:7.3f} s wall, {cpu:7.3f} s CPU an edit")
    print(
        f"   ratio: {clock.wall['plain'] / clock.wall['batched']:.1f} by wall, "
        f"{clock.cpu['plain'] / clock.cpu['batched']:.1f} by CPU"
    )
    print(f"targets apart, relative: median {apart.median():.1e}, worst {apart.max():.1e}")
    print("where the batched way spends its time (CPU):")
    total = clock.cpu.pop("batched")
    clock.cpu.pop("plain")
    for name, seconds in sorted(clock.cpu.items(), key=lambda item: -item[1]):
        print(f"  {name:<16}{100 * seconds / total:5.1f} %")
    print(f"  {'the rest':<16}{100 * (1 - sum(clock.cpu.values()) / total):5.1f} %")


if __name__ == "__main__":
    main()
