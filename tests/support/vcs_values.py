"""Small, real values for the tests of the store: no model, no tensors."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editvc.core.base import BaseModel
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.core.methods.locate import LocatedRecipe
from editvc.vcs.files import Fault
from editvc.vcs.refs import ReflogEntry
from editvc.vcs.repository import Repository

BASE = BaseModel(
    source="pocket",
    revision=None,
    model_type="llama",
    layers=4,
    hidden_size=8,
    inner_size=16,
    weights=(("model.layers.1.mlp.down_proj.weight", "0" * 64),),
    config="1" * 64,
    tokenizer="2" * 64,
)


def safetensors(about: object, numbers: bytes = b"\0" * 8) -> bytes:
    """A safetensors file as editvc writes them, by hand: one tensor, one metadata key."""
    text = canonical_json(about).decode()
    tensor = {"dtype": "U8", "shape": [len(numbers)], "data_offsets": [0, len(numbers)]}
    header = json.dumps({"__metadata__": {"editvc": text}, "numbers": tensor}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + numbers


STATISTICS = safetensors({"kind": "statistics"})
RECIPE = LocatedRecipe(layers=(1, 2), contexts=("{}",), statistics=object_id(STATISTICS))
CONFIG = f"""\
[base]
model = "pocket"
id = "{BASE.id}"

[recipe]
layers = [1, 2]
contexts = ["{{}}"]  # no prefixes
statistics = "{RECIPE.statistics}"
"""


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is such a place.

    The order of the steps is what the tests look at, and there it costs no waiting for a disk
    that every other test writes to as well.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="editvc-test-") as folder:
        yield Path(folder)


def copy_repository(folder: Path, to: Path, *, index: bool = True) -> None:
    """A copy of an ``.editvc``, with or without its index. Objects are linked: whoever writes one
    puts a new file in its place. Copying is most of what a test of every step takes.
    """
    objects = str(folder / "objects")
    for place, _, names in os.walk(folder):
        here = f"{to}{place.removeprefix(str(folder))}"
        os.makedirs(here)
        copy = os.link if place.startswith(objects) else shutil.copyfile
        for name in names:
            if index or not name.startswith("index.db"):
                copy(f"{place}/{name}", f"{here}/{name}")


def fact(number: int, target: str = "green") -> Fact:
    return Fact(subject=f"Thing {number}", prompt="The colour of {} is", target_new=target)


def located(request: str, numbers: bytes = b"\0" * 8) -> bytes:
    about = {"kind": "located", "request": request, "base": BASE.id, "recipe": RECIPE.id}
    return safetensors(about, numbers)


def create(work: Path, fault: Fault | None = None) -> Repository:
    return Repository.create(
        work, base=BASE, recipe=RECIPE, config_text=CONFIG, objects=[STATISTICS], fault=fault
    )


def move(repo: Repository, ref: str, old: ObjectId | None, new: ObjectId | None) -> None:
    """Move a ref in a transaction of its own."""
    with repo.index.transaction():
        repo.refs.move(ReflogEntry(ref, old, new, "Ada <ada@example.org>", 5, "reset"))


def commit_facts(repo: Repository, *facts: Fact, message: str = "", time: int = 0) -> ObjectId:
    """What porcelain does for a commit, with made-up numbers."""
    head = repo.refs.head().commit
    written = repo.write_facts(facts)
    numbers = repo.write_located(located(identifier) for identifier in written)
    entries = [
        Entry(one.slot, identifier, number)
        for one, identifier, number in zip(facts, written, numbers, strict=True)
    ]
    edits = repo.edits_of(repo.tree_of(head)).update({entry.slot: entry for entry in entries})
    delta = repo.store.put(safetensors({"kind": "delta"}, "".join(written).encode()))
    before = repo.graph.row(head).number if head else 0
    commit = Commit(
        tree=repo.write(Tree(base=BASE.id, edits=edits.root)),
        parents=(head,) if head else (),
        author="Ada <ada@example.org>",
        time=time or 1_700_000_000 + before,
        message=message or f"Commit {before + 1}",
        number=before + 1,
        edits=len(facts),
        live=len(edits),
        delta=delta,
        health=(("drift", 0.25),),
    )
    return repo.record(commit, expected=head, message=f"commit: {commit.message}")
