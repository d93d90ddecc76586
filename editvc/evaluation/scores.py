"""The scores of the papers, over a set of facts, in per cent.

ROME and MEMIT compare probabilities (ES, PS, NS and their harmonic mean S); D4S asks for the
first choice (Eff, Par, Spe and their mean Avg); generation is what a user sees (Gen).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editvc.core.facts import Fact
from editvc.evaluation.answer_match import of_a_word
from editvc.evaluation.objectives import Objective
from editvc.evaluation.probes import Forced, first_tokens, forced_and_first
from editvc.evaluation.score_columns import Outcomes, Scores
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "BaseOutcomes",
    "Scores",
    "answers",
    "answers_correctly",
    "base_outcomes",
    "locality_answers",
    "outcomes",
    "score",
]


def locality_answers(lm: LanguageModel, facts: Sequence[Fact]) -> list[int]:
    """First tokens of the *base* model on every locality prompt: the reference of Spe."""
    return first_tokens(lm, [prompt for fact in facts for prompt in fact.locality])


def score(lm: LanguageModel, facts: Sequence[Fact], base_answers: Sequence[int]) -> Scores:
    """Score a model on ``facts``; ``base_answers`` come from :func:`locality_answers`."""
    return Scores.of(outcomes(lm, facts, base_answers))


def outcomes(
    lm: LanguageModel, facts: Sequence[Fact], base_answers: Sequence[int]
) -> list[Outcomes]:
    """What came of every prompt of each fact, in the columns of :class:`Scores`.

    All prompts and objects go through the model together, so that a prompt is run once for both of
    its objects and its first token, and once for all facts that share it.
    """
    return _rows(facts, *_probed(lm, facts), base_answers)


@dataclass(frozen=True, slots=True)
class BaseOutcomes:
    """Of the unedited model, fact by fact: what came of the prompts, and the edits' objectives.

    ``first_tokens`` are its :func:`locality_answers`.
    """

    rows: list[Outcomes]
    first_tokens: list[int]
    objectives: list[Objective]


def base_outcomes(lm: LanguageModel, facts: Sequence[Fact]) -> BaseOutcomes:
    """:func:`outcomes` of the base itself and all that others are held against, in one go."""
    results, first = _probed(lm, facts)
    objectives = [Objective.of(new) for (((new, _),), _, _) in _by_fact(facts, results)]
    return BaseOutcomes(_rows(facts, results, first, first), first, objectives)


def _probed(lm: LanguageModel, facts: Sequence[Fact]) -> tuple[list[Forced], list[int]]:
    """Every prompt with every object, and the first token at every locality prompt."""
    pairs: list[tuple[str, str]] = []
    for fact in facts:
        for prompt in (fact.question, *fact.paraphrases, *fact.locality):
            pairs.append((prompt, fact.target_new))
            if fact.target_true:
                pairs.append((prompt, fact.target_true))
    prompts = [prompt for fact in facts for prompt in fact.locality]
    return forced_and_first(lm, pairs, prompts)


_Asked = list[tuple[Forced, Forced | None]]
"""The new object at each of some prompts, and the true one where the fact has one."""


def _by_fact(
    facts: Sequence[Fact], results: Sequence[Forced]
) -> Iterator[tuple[_Asked, _Asked, _Asked]]:
    """What :func:`_probed` gave, fact by fact: its question, its paraphrases, its locality."""
    taken = iter(results)
    for fact in facts:
        rewriting, paraphrases, locality = (
            [(next(taken), next(taken) if fact.target_true else None) for _ in range(count)]
            for count in (1, len(fact.paraphrases), len(fact.locality))
        )
        yield rewriting, paraphrases, locality


def _rows(
    facts: Sequence[Fact],
    results: Sequence[Forced],
    first: Sequence[int],
    base_answers: Sequence[int],
) -> list[Outcomes]:
    """What :func:`_probed` gave, as columns."""
    same = iter(zip(first, base_answers, strict=True))
    rows: list[Outcomes] = []
    for rewriting, paraphrases, locality in _by_fact(facts, results):
        rows.append(
            {
                "es": _preferred(rewriting),
                "ps": _preferred(paraphrases),
                "ns": [not preferred for preferred in _preferred(locality)],
                "eff": [new.all_argmax for new, _ in rewriting],
                "par": [new.all_argmax for new, _ in paraphrases],
                "spe": [now == before for _, (now, before) in zip(locality, same, strict=False)],
            }
        )
    return rows


def _preferred(asked: _Asked) -> list[bool]:
    """Of each prompt whether the new object is likelier than the true one, where there is one."""
    return [new.log_probability > true.log_probability for new, true in asked if true is not None]


def answers(lm: LanguageModel, facts: Sequence[Fact], *, max_new_tokens: int = 12) -> list[str]:
    """What greedy generation says after every rewriting prompt; more tokens for a longer object."""
    return [
        generate(lm, fact.question, room(lm.tokenizer, [fact], max_new_tokens)).strip()
        for fact in facts
    ]


def room(tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact], least: int) -> int:
    """Tokens to generate: an answer that is cut before its object ends could not be judged."""
    return max([least, *(1 + len(tokenizer(fact.target_new)["input_ids"]) for fact in facts)])


def answers_correctly(answer: str, fact: Fact) -> bool:
    """Whether an answer begins with the new object, and not with a longer word or number."""
    target = fact.target_new.strip()
    goes_on = of_a_word(target[-1:]) and of_a_word(answer[len(target) :])
    return answer.startswith(target) and not goes_on
