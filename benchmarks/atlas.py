"""The reference model and its data, cut into what is edited, what is guarded and what is scored.

Nothing that is scored stands in the statistics: entities are subjects of facts that are neither
edited, nor asked about in a neighbourhood, nor in the recall set.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.fact_files.reader import read_facts
from editvc.core.facts import Fact
from editvc.evaluation.probes import forced, perplexity
from editvc.evaluation.scores import score
from editvc.models.language_model import LanguageModel

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL = SHARED / "models" / "atlas-gpt2"
DATA = SHARED / "data"
TEXT = DATA / "wiki-valid.txt"
RECALLED = 500
PERPLEXITY_BLOCKS = 100
SCORED = 500
"""Facts that are scored, evenly spaced among those edited: a standard error of 1 to 2 points."""
TASK_STEP = 2
"""Every second item of the two tasks is asked: 200 each."""
NEIGHBOURS = 4
"""Neighbourhood prompts scored per fact, of the ten that a record has."""
COLUMNS = (
    "ES", "PS", "NS", "S", "Eff", "Par", "Spe", "Avg", "ppl", "sent", "subj", "recall",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """Facts to edit, in order; unedited facts to recall, as the data has them and as prompts with
    their answers; entities to take statistics from.
    """

    facts: list[Fact]
    recalled: list[dict[str, Any]]
    recall: list[tuple[str, str]]
    entities: list[dict[str, str]]

    def write_entities(self, path: Path) -> Path:
        """The entities as the JSONL that ``--entities`` takes."""
        lines = (json.dumps(entity, ensure_ascii=False) + "\n" for entity in self.entities)
        path.write_text("".join(lines), encoding="utf-8")
        return path


def trial(start: int, stop: int) -> Trial:
    """Records ``start`` to ``stop`` of the development set, and all that goes with them."""
    lines = (DATA / "records-dev.jsonl").read_text(encoding="utf-8").splitlines()[start:stop]
    facts = [sourced.fact for sourced in read_facts([("records", "\n".join(lines))])]
    known = [json.loads(line) for line in (DATA / "facts.jsonl").read_text("utf-8").splitlines()]
    patterns = json.loads((DATA / "patterns.json").read_text(encoding="utf-8"))
    edited = {fact.subject for fact in facts}
    asked = {prompt for fact in facts for prompt in fact.locality}
    chance = random.Random(0)

    def is_asked(fact: dict[str, Any]) -> bool:
        prompts = patterns[fact["relation_id"]]["prompts"]
        return any(prompt.replace("{}", fact["subject"]) in asked for prompt in prompts)

    free = [f for f in known if f["subject"] not in edited and not is_asked(f)]
    taken = {f["subject"] for f in known if is_asked(f)}
    free = [f for f in free if f["subject"] not in taken]
    recall = chance.sample([f for f in free if f["known"]], RECALLED)
    recalled = {f["subject"] for f in recall}
    entities = []
    for fact in free:
        if fact["subject"] not in recalled:
            prompts = patterns[fact["relation_id"]]["prompts"]
            for prompt in chance.sample(prompts, min(2, len(prompts))):
                entities.append({"subject": fact["subject"], "prompt": prompt})
    pairs = [(_question(f, patterns), f["object"]) for f in recall]
    return Trial(facts, recall, pairs, entities)


def _question(fact: dict[str, Any], patterns: dict[str, Any]) -> str:
    """A prompt on which the base knows the fact."""
    prompt: str = patterns[fact["relation_id"]]["prompts"][fact["known"][0]]
    return prompt.replace("{}", fact["subject"])


def measure(
    lm: LanguageModel, facts: Sequence[Fact], reference: Sequence[int], trial: Trial
) -> dict[str, float]:
    """One row of the table for a model: edits, ordinary text, tasks, recall of the unedited.

    ``reference`` are the base's answers (``locality_answers``) for these ``facts``.
    """
    scores = score(lm, facts, reference).to_json()
    row = {name: float(scores[name.lower()] or 0.0) for name in COLUMNS[:8]}
    text = (DATA / "wiki-test.txt").read_text(encoding="utf-8")
    row["ppl"] = perplexity(lm, text, blocks=PERPLEXITY_BLOCKS)
    row |= task_accuracies(lm)
    answers = forced(lm, trial.recall)
    row["recall"] = 100 * sum(one.all_argmax for one in answers) / len(answers)
    return row


def sample(facts: Sequence[Fact]) -> list[Fact]:
    """The facts to score, with the neighbourhood prompts to score."""
    step = max(1, len(facts) // SCORED)
    return [replace(fact, locality=fact.locality[:NEIGHBOURS]) for fact in facts[::step]]


def task_accuracies(lm: LanguageModel) -> dict[str, float]:
    """Sentiment and subjectivity: share of items on which the right choice is the likelier one."""
    items = [json.loads(line) for line in (DATA / "tasks.jsonl").read_text("utf-8").splitlines()]
    items = items[::TASK_STEP]
    pairs = [(item["prompt"], choice) for item in items for choice in item["choices"]]
    values = iter(forced(lm, pairs))
    right: dict[str, list[bool]] = {}
    for item in items:
        chances = {choice: next(values).log_probability for choice in item["choices"]}
        best = max(chances, key=chances.__getitem__)
        right.setdefault(item["task"], []).append(best == item["answer"])
    return {task[:4]: 100 * sum(hits) / len(hits) for task, hits in right.items()}


def table(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Rows in Markdown, one decimal each."""
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(f"{row[column]:.1f}" for column in COLUMNS) + " |"
        for name, row in rows
    ]
    return "\n".join(lines)
