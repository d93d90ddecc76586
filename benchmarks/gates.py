"""How long a set of many gated edits takes to become neurons, and how much memory.

    python benchmarks/gates.py

Edits are made of random numbers of the shapes of SmolLM2-135M where its folder is at hand, else of
the 17M reference model's: what is timed does not look at their meaning. Each number of edits is a
process of its own, which opens the repository anew and reads every edit from the store.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from atlas import MODEL

import editvc
from editvc.algebra.gated_edit import GatedEdit
from editvc.core.facts import Fact
from editvc.core.history import Entry
from editvc.session.on_branch import tip_of_head
from editvc.session.recording import advance, with_changes
from editvc.session.take_inputs import take_inputs, with_known_inputs
from editvc.session.trees import tree_at

SMOLLM2 = Path(__file__).resolve().parent.parent / ".models" / "smollm2"
COUNTS = (625, 1250, 2500, 5000)


def main() -> None:
    """Make the edits once, then time each number of them; with two words, time one."""
    if len(sys.argv) == 3:
        materialise(Path(sys.argv[1]), sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "names.txt").write_text("Ada Lovelace\nParis\n", encoding="utf-8")
        base = next((str(folder) for folder in (SMOLLM2, MODEL) if folder.is_dir()), "pocket")
        repo = editvc.Repo.init(place, base, later=True)
        entries = make_edits(repo, max(COUNTS), place / "names.txt")
        empty = repo.session.repository.tree_of(None)
        for count in COUNTS:
            tree = with_changes(repo.session, empty, {one.slot: one for one in entries[:count]})
            tip = tip_of_head(repo.session)
            advance(repo.session, tip, tree, message="all", author="a <a>", verb="commit")
        for number in range(1, len(COUNTS) + 1):  # of the commits
            subprocess.run([sys.executable, __file__, scratch, str(number)], check=True)


def make_edits(repo: editvc.Repo, count: int, names: Path) -> list[Entry]:
    """So many entries with random filters and values, each of two neurons."""
    session = repo.session
    chosen = repo.choose("gated").recipe
    take_inputs(session, chosen.layers, entities=names)
    recipe = with_known_inputs(session, chosen)
    base = session.materialiser.base
    generator = torch.Generator().manual_seed(0)

    def random(size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    def edit() -> GatedEdit:
        u, v = base.hidden_size, base.inner_size
        return GatedEdit(
            recipe.layers[0], random(u), torch.tensor([0.7]), random(u), random(u), random(v),
            telling=random(u), figures={},
        )  # fmt: skip

    facts = [Fact(f"Person {i}", "{} was born in", f"City {i % 50}") for i in range(count)]
    origin = {"base": base.id, "recipe": session.repository.write(recipe), "request": None}
    made = session.repository.write_located(edit().to_bytes(origin) for _ in facts)
    written = session.repository.write_facts(facts)
    return [
        Entry(fact.slot, identifier, element)
        for fact, identifier, element in zip(facts, written, made, strict=True)
    ]


def materialise(place: Path, revision: str) -> None:
    """Seconds from an opened repository to the neurons of a revision, and the process's peak."""
    session = editvc.Repo(place).session
    tree = tree_at(session, revision)
    began = time.perf_counter()
    neurons = session.materialiser.neurons(tree)
    seconds = time.perf_counter() - began
    width = sum(len(one.inside) for one in neurons.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    edits = sum(1 for _ in session.repository.edits_of(tree).entries())
    print(f"{edits} edits, {width} neurons: {seconds:.2f} s, {peak:.2f} GiB at most", flush=True)


if __name__ == "__main__":
    main()
