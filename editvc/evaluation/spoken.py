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

GROUPS = ("prompt", "paraphrases", "locality", "portability")
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
    """Answers at all prompts of each fact, by ``GROUPS``.

    Prompt and paraphrases should say the new object; locality prompts what the base says first
    (:func:`locality_sentences`); those of portability, which may take several hops, their own
    answers. An answer ends where the model ends it, or after
    ``max_new_tokens``, or as many as a longer object needs.
    """
    asked: list[tuple[str, str, str, int]] = []
    for fact in facts:
        longest = room(lm.tokenizer, [fact], max_new_tokens)
        asked += [("prompt", fact.question, fact.target_new, longest)]
        asked += [("paraphrases", each, fact.target_new, longest) for each in fact.paraphrases]
        asked += [("locality", each, base_says[each], max_new_tokens) for each in fact.locality]
        hops = zip(fact.hops, fact.hop_answers, strict=True)
        asked += [("portability", each, answer, max_new_tokens) for each, answer in hops]
    said = iter(generate_all(lm, [one[1] for one in asked], [one[3] for one in asked]))
    waiting = iter(asked)
    rows: list[SpokenFact] = []
    for fact in facts:
        row: dict[str, list[Spoken]] = {group: [] for group in GROUPS}
        prompts = (*fact.paraphrases, *fact.locality, *fact.hops)
        for _ in range(1 + len(prompts)):
            group, prompt, expected, _bound = next(waiting)
            answer = next(said).strip()
            row[group].append(Spoken(prompt, answer, expected, match(answer, expected)))
        rows.append(row)
    return rows


def columns(row: SpokenFact) -> Outcomes:
    """What came of the prompts of one fact, as columns ``GROUP.WAY``."""
    return {
        f"{group}.{way}": [getattr(one.match, way) for one in said]
        for group, said in row.items()
        for way in WAYS
    }
