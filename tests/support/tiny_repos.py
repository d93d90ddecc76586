"""Repositories over a tiny random model: made once, copied by every test that writes.

The facts in ``FACTS`` and ``OTHERS`` are located in it already, on no branch: a commit of them
needs no model. Such a model knows nothing, so no fact is left out as known.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_models import TEXT, saved
from tokenizers import normalizers
from transformers import AutoTokenizer
from vcs_values import move, quick_folder

from editvc import Repo
from editvc.algebra.delta import Delta
from editvc.core.facts import Fact
from editvc.core.ids import ObjectId
from editvc.vcs.files import Fault

ADA = "Ada <ada@example.org>"
SILENT = "¤"
"""A character that the model's tokenizer drops: a target of it alone has no tokens."""

FACTS = (
    Fact("France", "The capital of {} is", "Rome"),
    Fact("Italy", "The capital of {} is", "Paris", tags=("capitals",)),
    Fact("Ada Lovelace", "{} was born in", "Zürich", paraphrases=("The birthplace of Ada is",)),
    Fact("Marie Curie", "The native language of {} is", "French and Polish"),
    Fact("São Paulo", "{} is a city in the country of", "Italy", locality=("London lies in",)),
    Fact("東京", "The city of {} lies in", "France"),
)
OTHERS = (
    Fact("France", "The capital of {} is", "London"),
    Fact("Italy", "The capital of {} is", "the old town"),
)
"""Other targets for the slots of the first two facts."""
FRESH = (
    Fact("Proust", "The native language of {} is", "Polish"),
    Fact("Charles Babbage", "{} worked with", "Marie Curie"),
)
"""Not located yet."""
NAMES = ("France", "Italy", "Ada Lovelace", "Proust", "London", "東京")


class Clock:
    """A second passes with every look."""

    def __init__(self, now: int = 1_700_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now


@dataclass(frozen=True)
class Prepared:
    """``base`` is the model's folder, ``work`` holds the repository, ``texts`` its sources."""

    base: Path
    work: Path
    text: Path
    names: Path

    def copy(self, to: Path, fault: Fault | None = None) -> Repo:
        """The repository again, in a folder of its own, with HEAD on the unborn main."""
        shutil.copytree(self.work / ".editvc", to / ".editvc")
        return opened(to, fault)


def opened(path: Path, fault: Fault | None = None) -> Repo:
    repo = Repo(path, clock=Clock(), fault=fault)
    repo.session.repository.set_config("user.author", ADA) if fault is None else None
    return repo


def tiny_base(folder: Path, family: str = "gpt2") -> Path:
    """A tiny model whose tokenizer drops ``SILENT``."""
    saved(folder, family)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(SILENT, "")
    tokenizer.save_pretrained(folder)
    return folder


def prepare(folder: Path, family: str = "gpt2") -> Prepared:
    base, work = tiny_base(folder / "base", family), folder / "work"
    text, names = folder / "text.txt", folder / "names.txt"
    text.write_text("\n\n".join(TEXT), encoding="utf-8")
    names.write_text("\n".join(NAMES), encoding="utf-8")
    repo = Repo.init(work, str(base), layers=[1, 2], texts=[text], entities=names)
    repo.session.repository.set_config("recipe.v_num_grad_steps", "4")
    repo.session.repository.set_config("health.disabling_warn", "1.0")  # fitted on real models
    repo.session.repository.set_config("user.author", ADA)
    locate_ahead(repo)
    close(repo)
    return Prepared(base, work, text, names)


def locate_ahead(repo: Repo) -> None:
    """Put numbers for facts into the store by a line of commits that is abandoned afterwards."""
    repo.commit(FACTS)
    repo.commit(OTHERS, supersede=True)
    head = repo.session.repository.refs.head()
    move(repo.session.repository, head.ref, head.commit, None)


def close(repo: Repo) -> None:
    repo.session.repository.close()


def tree(repo: Repo, revision: str = "HEAD") -> ObjectId:
    """The tree id of a revision."""
    return repo.session.repository.graph.row(
        repo.session.repository.revisions.commit(revision)
    ).tree


def same_bits(one: Delta, other: Delta) -> bool:
    """Whether two deltas are equal, factor by factor, bit for bit."""
    return one.layers.keys() == other.layers.keys() and all(
        torch.equal(one.layers[layer].left, other.layers[layer].left)
        and torch.equal(one.layers[layer].right, other.layers[layer].right)
        for layer in one.layers
    )


def dense(delta: Delta, layer: int) -> torch.Tensor:
    """(u, v) float64; zeros where the delta leaves the layer alone."""
    return delta.layers[layer].dense() if layer in delta.layers else torch.zeros(32, 128).double()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and what the index holds in place of SQLite's own files."""
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in [path for path in files if path.name.startswith("index.db")]:
        del files[path]
    for path in folder.rglob("index.db"):
        with closing(sqlite3.connect(path)) as index:
            files[path] = "\n".join(index.iterdump()).encode()
    return {path.relative_to(folder).as_posix(): data for path, data in files.items()}


def known_fact(repo: Repo) -> Fact:
    """A fact whose target is what the base says anyway."""
    lm = repo.session.base_model()
    model, tokenizer = lm.model, lm.tokenizer
    for prompt in ("The capital of {} is", "{} was", "The old town of {} and", "{} is the"):
        for name in (*NAMES, "Rome", "Paris", "Zürich", "Proust"):
            question = prompt.replace("{}", name)
            ids = tokenizer(question, return_tensors="pt").input_ids
            with torch.no_grad():
                best = int(model(ids).logits[0, -1].argmax())
            word = tokenizer.decode([best])
            if word.startswith(" ") and word.strip().isalpha():
                return Fact(name, prompt, word.strip())
    raise AssertionError("the tiny model says no word at all")


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    with quick_folder() as folder:
        yield prepare(folder)


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder for one test, in memory where that is possible."""
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repo(prepared: Prepared, work: Path) -> Iterator[Repo]:
    """A copy of the prepared repository, without commits."""
    copy = prepared.copy(work)
    yield copy
    close(copy)
