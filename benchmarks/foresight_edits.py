"""Single aggressive edits on two models: what was foreseen of each, and what it did.

Each edit is drawn by its number: a kind, its numbers, a fact. It is made on the fresh base, alone;
its figures are those of the product (:mod:`editvc.session.foresight`), its outcome is measured on
ordinary text and on facts that it is not about.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from atlas import MODEL, TEXT
from real import SMOLLM2
from real_data import REAL, Collection, Known, atlas_collection, probes, real_collection
from scoring import spaced

import editvc
from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.largest_edits import largest_edits
from editvc.evaluation.objectives import objectives
from editvc.evaluation.probes import NoProbabilities, forced, perplexity
from editvc.materialise.lone_edits import lone_edits
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import tokenize
from editvc.session.entries import make_entries, planned
from editvc.session.recording import with_changes
from editvc.session.session import Session

CHARACTERS, ENTITIES = 100_000, 500
"""Of text and names that statistics are taken from: enough for the widths here (1,536)."""
LIGHT = ('contexts=["{}"]', "v_num_grad_steps=15")
"""Targets are searched on the bare prompt: what is wanted is harm and what tells of it."""
RECALLED = 40
"""Other facts that the base says, asked after each edit."""
LARGEST = 1e9
"""Times the base's perplexity, at most: a model that gives no probabilities has it, too."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that edits are tried on: its layers, and how much text it is asked for.

    ``usual`` is the window that editvc edits by default, ``wrong`` are others.
    """

    name: str
    folder: Path
    collection: Callable[[], Collection]
    usual: tuple[int, ...]
    wrong: tuple[tuple[int, ...], ...]
    blocks: int


SUBJECTS = {
    "atlas": Subject(
        "atlas", MODEL, lambda: atlas_collection(0, 400), (0, 1, 2, 3),
        ((0,), (4, 5), (5, 6, 7), (7,)), 4,
    ),
    "smollm2": Subject(
        "smollm2", SMOLLM2, lambda: real_collection(REAL, 0, 400), (4, 5, 6, 7, 8),
        ((0,), (15, 16), (27, 28, 29)), 2,
    ),
}  # fmt: skip

KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("memit", "memit", ()),
    ("memit paper", "memit", ("preset=paper",)),
    ("memit paper, small lambda", "memit", ("preset=paper", "mom2_update_weight=100.0")),
    ("rome published", "rome", ("form=published", "v_weight_decay=0.0015")),
    ("rome without C", "rome", ("form=without-c", "v_weight_decay=0.0015")),
    ("ft", "ft", ()),
    ("ft-c", "ft-c", ("norm_constraint=0.0",)),
)
"""Name, method, options: (ROME in its published form, with and without C; FT without a bound and
with one; MEMIT as it is here and as published)."""


def draw(subject: Subject, number: int) -> tuple[str, str, tuple[str, ...]]:
    """The kind of an edit, its method and all its options, by its number alone."""
    chance = random.Random(f"{subject.name} {number}")
    kind, method, options = KINDS[number % len(KINDS)]
    window = subject.usual if chance.random() < 0.6 else chance.choice(subject.wrong)
    if method in ("rome", "ft", "ft-c"):
        window = (chance.choice(window),)
    more = [f"layers={list(window)}"]
    if method in ("ft", "ft-c"):
        more += [f"lr={_between(chance, 3e-4, 0.1):.3g}"]
    if method == "ft-c":
        more += [f"relative_constraint={_between(chance, 0.05, 20):.3g}"]
    if method not in ("ft", "ft-c"):
        more += [
            f"clamp_norm_factor={_between(chance, 0.5, 30):.3g}",
            f"v_lr={_between(chance, 0.5, 10):.3g}", *LIGHT,
        ]  # fmt: skip
    if kind == "memit":
        more += ["sensitivity="]  # targets as MEMIT has them: what shapes them is of one layer
    return kind, method, (*options, *more)


def _between(chance: random.Random, low: float, high: float) -> float:
    """Log-uniform."""
    return math.exp(chance.uniform(math.log(low), math.log(high)))


class Trials:
    """Edits of one model, each alone on the fresh base, none of them kept."""

    def __init__(self, subject: Subject, place: Path) -> None:
        self.subject, collection = subject, subject.collection()
        self.records = collection.records
        asked = probes(collection, collection.records)
        self.text, self.recall = collection.text, asked.recall
        self.repo = _repository(subject, collection, place)
        base = self.repo.session.base_model()
        self.base_perplexity = self._perplexity(base)
        self.known = self._said(base, asked.recall)[:RECALLED]

    def rows(self, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """What was measured of each edit."""
        for number in numbers:
            kind, method, options = draw(self.subject, number)
            recipe = self.repo.choose(method, options=options).recipe
            fact = self.records[number % len(self.records)].fact
            yield {
                "part": "edit", "model": self.subject.name, "number": number, "kind": kind,
                "method": method, "options": [*options], **self._one(recipe, fact),
            }  # fmt: skip

    @torch.no_grad()
    def outcome(self, tree: Tree, session: Session, fact: Fact) -> dict[str, float]:
        """What a tree's model has become: perplexity over the base's, the share of other facts
        that is lost, and whether ``fact`` is said.
        """
        with session.edited(tree) as lm:
            try:
                ratio = self._perplexity(lm) / self.base_perplexity
                said = forced(lm, [(fact.question, fact.target_new)])[0].all_argmax
            except NoProbabilities:
                return {"ppl": LARGEST, "lost": 1.0, "said": 0.0}
            kept = len(self._said(lm, self.known))
        lost = 1 - kept / len(self.known)
        return {"ppl": min(ratio, LARGEST), "lost": lost, "said": float(said)}

    def _one(self, recipe: Recipe, fact: Fact) -> dict[str, Any]:
        session = self.repo.session
        (entry,) = make_entries(session, recipe, [planned(session, recipe, fact)])
        made = session.materialiser.elements.element(entry.element)[1]
        (figures,) = lone_edits(session.materialiser, recipe, [made])
        assert figures is not None, "all kinds change weights"
        foreseen = {}
        if isinstance(recipe, LocatedRecipe):
            (largest,) = largest_edits(
                session.base_model(), [fact.request], recipe,
                session.materialiser.preconditioners.of(recipe),
            )  # fmt: skip
            (early,) = lone_edits(session.materialiser, recipe, [largest])
            assert early is not None, "a located edit"
            (prompt,) = tokenize(session.base_model().tokenizer, [fact.request])[0]
            (aim,) = objectives(session.base_model(), [prompt])
            foreseen = early.to_json() | {"objective": aim.perplexity}
        empty = session.repository.tree_of(None)
        tree = with_changes(session, empty, {entry.slot: entry})
        return {
            "figures": figures.to_json(),
            "foreseen": foreseen,
            **self.outcome(tree, session, fact),
        }

    def _perplexity(self, lm: LanguageModel) -> float:
        return perplexity(lm, self.text, blocks=self.subject.blocks)

    def _said(self, lm: LanguageModel, known: Sequence[Known]) -> list[Known]:
        each = forced(lm, [(one.prompt, one.object) for one in known])
        return [one for one, found in zip(known, each, strict=True) if found.all_argmax]


def _repository(subject: Subject, collection: Collection, place: Path) -> editvc.Repo:
    """One with statistics of every layer that edits are drawn in; kept in ``place`` for later."""
    folder = place / subject.name
    if (folder / ".editvc").is_dir():
        return editvc.Repo(folder)
    folder.mkdir(parents=True, exist_ok=True)
    layers = sorted({*subject.usual, *(layer for window in subject.wrong for layer in window)})
    text, names = folder / "text.txt", folder / "entities.jsonl"
    text.write_text(TEXT.read_text(encoding="utf-8")[:CHARACTERS], encoding="utf-8")
    some = spaced(collection.entities or _entities(collection), ENTITIES)
    names.write_text("".join(json.dumps({**one}) + "\n" for one in some), encoding="utf-8")
    return editvc.Repo.init(
        folder, str(subject.folder), layers=layers, texts=[text], entities=names, method="memit"
    )


def _entities(collection: Collection) -> list[dict[str, str]]:
    """Names that no edit is about, with a prompt each, where the collection brings none."""
    edited = {record.fact.subject for record in collection.records}
    return [
        {"subject": one.subject, "prompt": one.prompt.replace(one.subject, "{}")}
        for one in collection.known
        if one.subject and one.subject not in edited and one.prompt.count(one.subject) == 1
    ]
