"""What a model says of facts by itself: greedy generation after every prompt that a fact has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.evaluation.answer_match import Match, first_sentence, match
from editvc.evaluation.score_columns import Outcomes
from editvc.evaluation.scores import room
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel

GROUPS = ("prompt", "paraphrases", "locality")
WAYS = ("contains", "begins", "exact")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A prompt, the answer to it, what it should have said, and how far it did."""

    prompt: str
    answer: str
    expected: str
    match: Match

    def to_json(self) -> dict[str, Any]:
        """For ``eval --json``, below ``per_fact``."""
        return {"prompt": self.prompt, "answer": self.answer, "expected": self.expected,
                **self.match.to_json()}  # fmt: skip


SpokenFact = Mapping[str, Sequence[Spoken]]
"""What was said of one fact, by ``GROUPS``."""


def locality_sentences(
    lm: LanguageModel, facts: Sequence[Fact], max_new_tokens: int
) -> dict[str, str]:
    """What the *base* says first at every locality prompt: its first sentence, or line."""
    prompts = [*dict.fromkeys(prompt for fact in facts for prompt in fact.locality)]
    said = generate_all(lm, prompts, [max_new_tokens] * len(prompts))
    return {p: first_sentence(answer) for p, answer in zip(prompts, said, strict=True)}


def spoken(
    lm: LanguageModel, facts: Sequence[Fact], base_says: Mapping[str, str], max_new_tokens: int
) -> list[SpokenFact]:
    """Answers at the prompt, the paraphrases and the locality prompts of each fact.

    The first two should say the new object; the last what the base says first
    (:func:`locality_sentences`). An answer ends where the model ends it, or after
    ``max_new_tokens``, or as many as a longer object needs.
    """
    asked: list[tuple[str, str, str, int]] = []
    for fact in facts:
        longest = room(lm.tokenizer, [fact], max_new_tokens)
        for group, prompts in prompts_of(fact).items():
            for prompt in prompts:
                kept = group == "locality"
                expected = base_says[prompt] if kept else fact.target_new
                asked.append((group, prompt, expected, max_new_tokens if kept else longest))
    said = iter(generate_all(lm, [one[1] for one in asked], [one[3] for one in asked]))
    waiting = iter(asked)
    rows: list[SpokenFact] = []
    for fact in facts:
        row: dict[str, list[Spoken]] = {group: [] for group in GROUPS}
        for _ in range(sum(map(len, prompts_of(fact).values()))):
            group, prompt, expected, _bound = next(waiting)
            answer = next(said).strip()
            row[group].append(Spoken(prompt, answer, expected, match(answer, expected)))
        rows.append(row)
    return rows


def prompts_of(fact: Fact) -> dict[str, tuple[str, ...]]:
    """The whole prompts of a fact by ``GROUPS``."""
    return {"prompt": (fact.question,), "paraphrases": fact.paraphrases, "locality": fact.locality}


def columns(row: SpokenFact) -> Outcomes:
    """What came of the prompts of one fact, as columns ``GROUP.WAY``."""
    return {
        f"{group}.{way}": [getattr(one.match, way) for one in said]
        for group, said in row.items()
        for way in WAYS
    }
