"""A model with what it is edited by and asked about: made once a run, and handed to every part."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

from atlas import DATA, MODEL
from real import SMOLLM2, make_model
from real_data import REAL, Collection, atlas_collection, real_collection, training_facts
from ways import MEMIT_WEIGHT

import editvc
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model
from experiments.parts import ATLAS

NAMES = 100
"""Names that statistics are taken of. Published forms weigh none, so few are enough."""
TASKS = REAL / "tasks"
TEXT = DATA / "wiki-test.txt"
RECORDS, CHAT_RECORDS = 1000, 400
"""Records of the reference model, and of the chat model."""


class Bench:
    """A repository over a model that nothing is committed to, and records of facts to edit."""

    def __init__(self, model: str, kept: Path) -> None:
        self.model = model
        self.collection = collection(model)
        self.base = MODEL if model == ATLAS else SMOLLM2
        if model != ATLAS:
            make_model(self.base)
        self._folder = kept / f"empty-{model}"

    @cached_property
    def repo(self) -> editvc.Repo:
        """The repository, which takes minutes to make: kept where ``--scratch`` says."""
        return editvc.Repo(self._made(self._folder))

    @cached_property
    def lm(self) -> LanguageModel:
        """The model, unedited."""
        return load(open_model(str(self.base)))

    def facts(self, count: int, seed: int = 0) -> list[Fact]:
        """The first facts of the records, each subject once; with a seed, of another order."""
        facts = {one.fact.subject: one.fact for one in reversed(self.collection.records)}
        ordered = [*reversed(facts.values())]
        if seed:
            ordered = random.Random(seed).sample(ordered, len(ordered))
        return ordered[:count]

    def recipe(self, method: str, options: Sequence[str]) -> Recipe:
        """A method's recipe; lambda of a published one is its authors', to this model's width."""
        chosen = self.repo.choose(method, options=options).recipe
        if "preset=paper" in options and isinstance(chosen, LocatedRecipe):
            weight = MEMIT_WEIGHT * self.lm.inner_size
            if chosen.mom2_update_weight > weight:
                options = [*options, f"mom2_update_weight={weight}"]
                chosen = self.repo.choose(method, options=options).recipe
        return self.repo.with_coverage(chosen)

    def train(self) -> None:
        """Train MEND's editor on facts that are neither edited nor asked."""
        if not self.repo.settings("mend.editor")["mend.editor"]:
            self.repo.train_mend(training_facts(self.collection)[:300], published=True)

    def _made(self, folder: Path) -> Path:
        if folder.exists():
            return folder
        with tempfile.TemporaryDirectory() as scratch:
            names = Path(scratch) / "names.jsonl"
            some = [*self.collection.entities][:NAMES] or [
                {"subject": one.subject} for one in self.collection.known[-NAMES:]
            ]
            names.write_text("".join(json.dumps(one) + "\n" for one in some), encoding="utf-8")
            whole = Path(scratch) / "empty"
            editvc.Repo.init(
                whole, str(self.base.resolve()), texts=self.collection.statistics, entities=names,
                method="memit",
            )  # fmt: skip
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(whole, folder)
        return folder


def collection(model: str) -> Collection:
    """A model's records and what goes with them."""
    if model == ATLAS:
        return atlas_collection(0, RECORDS)
    return real_collection(REAL, 0, CHAT_RECORDS)


@cache
def opened(model: str, kept: Path) -> Bench:
    """The bench of a model, one a run."""
    return Bench(model, kept)
