"""What is edited and what is scored: records, facts that the base knows, texts.

Two collections have one shape: facts of a real chat model (SmolLM2-135M-Instruct), and those of the
17M reference model (:mod:`atlas`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atlas import DATA, RECALLED, TEXT, trial

from editvc.core.fact_files.reader import read_facts
from editvc.core.facts import PLACEHOLDER, Fact

REAL = DATA / "real"
SEED = 17
PER_RECORD = 5
"""Neighbourhood prompts, and near ones, that are asked of each record."""


@dataclass(frozen=True, slots=True)
class Known:
    """A fact that the base knows, and a whole prompt on which it knows it.

    ``subject`` is empty where nobody could tell it from the prompt.
    """

    subject: str
    relation: str
    prompt: str
    object: str


@dataclass(frozen=True, slots=True)
class Record:
    """A fact to edit, the id of its relation, and other facts of it that have another object."""

    fact: Fact
    relation: str
    near: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """A model's records, facts that it knows, and what else it is asked and made of.

    ``recalled`` is how many unedited facts a run recalls. ``text`` is for perplexity, whole, and so
    are ``sentences``, each by itself. ``tasks`` is the folder of few-shot tasks. ``statistics`` and
    ``entities`` are what ``init`` is given: nothing is what editvc brings itself.
    """

    name: str
    records: tuple[Record, ...]
    known: tuple[Known, ...]
    recalled: int
    text: str
    sentences: tuple[str, ...] = ()
    tasks: Path | None = None
    statistics: tuple[Path, ...] = ()
    entities: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Probes:
    """What is asked after a run with some records.

    ``same`` are other facts of the subjects that it edits.
    """

    facts: tuple[Fact, ...]
    near: tuple[tuple[Record, Known], ...]
    recall: tuple[Known, ...]
    same: tuple[Known, ...]


def real_collection(folder: Path, start: int, stop: int) -> Collection:
    """Records of SmolLM2-135M-Instruct in a folder; wiki-test.txt stands beside it."""
    known = [
        Known(
            one["subject"],
            one["relation_id"],
            one["prompts"][0].replace(PLACEHOLDER, one["subject"]),
            one["object"],
        )
        for one in lines_of(folder / "known.jsonl")
    ]
    patterns = json.loads((folder / "patterns.json").read_text(encoding="utf-8"))
    raw = lines_of(folder / "records-dev.jsonl")[start:stop]
    text = "\n".join(json.dumps(one) for one in raw)
    facts = [sourced.fact for sourced in read_facts([("records", text)])]
    records = []
    for fact, one in zip(facts, raw, strict=True):
        relation = one["requested_rewrite"]["relation_id"]
        near = tuple(
            Known(subject_in(prompt, patterns.get(relation, ())), relation, prompt, answer)
            for prompt, answer in zip(one["near_prompts"], one["near_objects"], strict=True)
        )
        records.append(Record(fact, relation, near))
    return Collection(
        "smollm2",
        tuple(records),
        tuple(known),
        recalled=300,
        text=(folder.parent / "wiki-test.txt").read_text(encoding="utf-8"),
        sentences=tuple(one["Text"].strip() for one in lines_of(folder / "me-ppl-1k.jsonl")),
        tasks=folder / "tasks",
    )


def atlas_collection(start: int, stop: int) -> Collection:
    """Records of the 17M reference model, with what :mod:`atlas` recalls and guards for them.

    Near facts are those recalled of a record's relation, so that no statistics were taken on them.
    """
    what = trial(start, stop)
    known = [
        Known(fact["subject"], fact["relation_id"], prompt, fact["object"])
        for fact, (prompt, _) in zip(what.recalled, what.recall, strict=True)
    ]
    raw = lines_of(DATA / "records-dev.jsonl")[start:stop]
    relations = [one["requested_rewrite"]["relation_id"] for one in raw]
    records = [
        Record(
            fact,
            relation,
            tuple(k for k in known if k.relation == relation and k.object != fact.target_true),
        )
        for fact, relation in zip(what.facts, relations, strict=True)
    ]
    return Collection(
        "atlas",
        tuple(records),
        tuple(known),
        recalled=RECALLED,
        text=(DATA / "wiki-test.txt").read_text(encoding="utf-8"),
        statistics=(TEXT,),
        entities=tuple(what.entities),
    )


def probes(collection: Collection, records: Sequence[Record]) -> Probes:
    """What is asked after editing these records.

    Neighbourhood and near prompts that name an edited subject say nothing of locality and are left
    out; of the others the first ``PER_RECORD`` a record. ``recall`` are the first of the known
    facts whose subjects are not edited, in an order that is the same in every run. ``same`` are
    those of edited subjects that have another relation and another object than what was edited.
    """
    edited = {record.fact.subject: record for record in records}
    names = naming([*edited])
    facts = [
        replace(
            record.fact,
            locality=tuple(p for p in record.fact.locality if not names(p))[:PER_RECORD],
        )
        for record in records
    ]
    near = [
        (record, one)
        for record in records
        for one in [one for one in record.near if not names(one.prompt)][:PER_RECORD]
    ]
    shuffled = random.Random(SEED).sample(collection.known, len(collection.known))
    recall = [one for one in shuffled if one.subject not in edited][: collection.recalled]
    same = [
        one
        for one in collection.known
        if (record := edited.get(one.subject))
        and one.relation != record.relation
        and one.object != record.fact.target_true
    ]
    return Probes(tuple(facts), tuple(near), tuple(recall), tuple(same))


def training_facts(collection: Collection) -> list[Fact]:
    """What a trained editor learns on: known facts that no run edits or recalls.

    Each gets the object of another one of its relation; where a relation has one object alone, its
    facts are left out.
    """
    asked = probes(collection, collection.records)
    taken = {fact.subject for fact in asked.facts} | {one.subject for one in asked.recall}
    free = [one for one in collection.known if one.subject not in taken]
    chance, facts = random.Random(SEED), []
    for one in free:
        others = sorted({k.object for k in collection.known if k.relation == one.relation})
        others = [name for name in others if name != one.object]
        if others and one.prompt.count(one.subject) == 1:
            prompt = one.prompt.replace(one.subject, PLACEHOLDER)
            facts.append(Fact(one.subject, prompt, chance.choice(others), one.object))
    return facts


def naming(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text holds one of the names, as whole words."""
    if not names:
        return lambda text: False
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, names)) + r")(?!\w)")
    return lambda text: pattern.search(text) is not None


def subject_in(prompt: str, wordings: Sequence[str]) -> str:
    """The subject in a whole prompt, by the fitting wording with the most words of its own."""
    for wording in sorted(wordings, key=len, reverse=True):
        before, after = wording.split(PLACEHOLDER)
        middle = prompt.removeprefix(before).removesuffix(after)
        if middle and before + middle + after == prompt:
            return middle
    return ""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
