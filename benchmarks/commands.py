"""How long commands take in a repository of 1,000 commits, and of 1,000 live edits.

    python benchmarks/commands.py

Edits are made of random numbers of the right shapes: what is timed does not look at their meaning.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import torch
from atlas import MODEL

import editvc
from editvc.algebra.located_edit import Located
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry
from editvc.core.methods.table import DEFAULT
from editvc.session.recording import advance, with_changes

COUNT = 1000
RUNS = 5
BIN = Path(sys.executable).parent / "editvc"


def main() -> None:
    """Make the repository, time the commands, print medians."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        text = Path(str(resources.files("editvc.data"))) / "text.txt"
        (place / "names.txt").write_text("Ada Lovelace\nParis\n", encoding="utf-8")
        base = str(MODEL) if MODEL.is_dir() else "pocket"
        repo = editvc.Repo.init(
            place, base, texts=[text], entities=place / "names.txt", method=DEFAULT
        )
        entries = make_edits(repo)
        make_history(repo, entries)
        for words in (["--help"], ["status"], ["log"], ["log", "--oneline", "-n", "10"]):
            print(f"editvc {' '.join(words)}: {timed(place, words):.2f} s", flush=True)
        began = time.perf_counter()
        advance(
            repo.session, repo.status().commit, full_tree(repo, entries), message="all",
            author="a <a>", verb="commit",
        )  # fmt: skip
        print(f"solve and commit {COUNT} edits: {time.perf_counter() - began:.2f} s", flush=True)
        began = time.perf_counter()
        run(place, ["revert", entries[0].fact[:12]])
        run(place, ["export", "--format", "delta", "--to", "delta"])
        print(f"revert one, export delta: {time.perf_counter() - began:.2f} s", flush=True)


def make_edits(repo: editvc.Repo) -> list[Entry]:
    """COUNT entries with random keys and residuals."""
    base, recipe = repo.session.materialiser.base, repo.recipe()
    generator = torch.Generator().manual_seed(0)

    def random(size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    facts = [Fact(f"Person {i}", "{} was born in", f"City {i % 50}") for i in range(COUNT)]
    origin = {"kind": "located", "base": base.id, "recipe": repo.session.repository.write(recipe)}
    located = repo.session.repository.write_located(
        Located(
            {layer: random(base.inner_size) for layer in recipe.layers},
            {layer: 0.01 * random(base.hidden_size) for layer in recipe.layers},
            {},
        ).to_bytes(origin | {"request": None})
        for _ in facts
    )
    written = repo.session.repository.write_facts(facts)
    return [
        Entry(fact.slot, identifier, numbers)
        for fact, identifier, numbers in zip(facts, written, located, strict=True)
    ]


def full_tree(repo: editvc.Repo, entries: list[Entry]):  # type: ignore[no-untyped-def]
    """The tree of all entries."""
    empty = repo.session.repository.tree_of(None)
    return with_changes(repo.session, empty, {entry.slot: entry for entry in entries})


def make_history(repo: editvc.Repo, entries: list[Entry]) -> None:
    """COUNT commits without deltas: ``log`` and ``status`` do not read those."""
    plumbing = repo.session.repository
    tree = plumbing.write(full_tree(repo, entries[:1]))
    first = Commit(
        tree=tree, parents=(), author="Ada <ada@example.org>", time=1_700_000_000,
        message="An edit", number=1, edits=1, live=1, delta=None,
    )  # fmt: skip
    line = [first]
    parent = plumbing.write(first)
    for number in range(2, COUNT + 1):
        line.append(replace(first, parents=(parent,), number=number, time=first.time + number))
        parent = plumbing.write(line[-1])
    plumbing.record(line[-1], expected=None, message="history", earlier=line[:-1])


def run(place: Path, words: list[str]) -> None:
    """One command, its output thrown away."""
    subprocess.run([str(BIN), *words], cwd=place, check=True, stdout=subprocess.DEVNULL)


def timed(place: Path, words: list[str]) -> float:
    """Median seconds of a command as a whole process."""
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run(place, words)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
