"""Facts to measure a recipe with: some of many, with all the prompts that the scores ask for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from editvc.core.facts import PLACEHOLDER, Fact
from editvc.evaluation.probes import first_tokens, forced, predicts_target
from editvc.models.context_prefixes import sample_contexts
from editvc.models.language_model import LanguageModel
from editvc.session.recording import NothingToDo

NEIGHBOURS = 5
"""Locality prompts made of other facts' questions, for a fact without any of its own."""


def probing_facts(lm: LanguageModel, facts: Sequence[Fact], count: int, seed: int) -> list[Fact]:
    """At most ``count`` facts that the base does not say, drawn by ``seed``, fit to be scored.

    What a fact lacks is made up: the true object is what the base says; paraphrases are the
    question behind sentences that the base writes; locality prompts are the questions of other
    facts, first of those not drawn. Locality prompts at which the base itself prefers the new
    object tell nothing and are left out. Raises ``NothingToDo`` where no fact is left.
    """
    drawn = random.Random(seed).sample(list(facts), len(facts))
    some = drawn[: 4 * count]  # more than enough, mostly, and no need to ask about a whole file
    known = predicts_target(lm, [fact.request for fact in some])
    fresh = [fact for fact, yes in zip(some, known, strict=True) if not yes]
    fresh = [fact for fact in _with_true_objects(lm, fresh) if fact.target_true]
    if not fresh:
        raise NothingToDo(
            "nothing to tune with: the base says the new object of every fact already",
            hint="Give facts that say otherwise than the base does.",
        )
    chosen = fresh[:count]
    subjects = {fact.subject for fact in chosen}
    others = [fact for fact in drawn if fact.subject not in subjects]
    return _with_locality(lm, _with_paraphrases(lm, chosen, seed), [*others, *chosen])


def _with_true_objects(lm: LanguageModel, facts: Sequence[Fact]) -> list[Fact]:
    objects = first_tokens(lm, [fact.question for fact in facts])
    return [
        replace(fact, target_true=fact.target_true or lm.tokenizer.decode([token]).strip())
        for fact, token in zip(facts, objects, strict=True)
    ]


def _with_paraphrases(lm: LanguageModel, facts: Sequence[Fact], seed: int) -> list[Fact]:
    if all(fact.paraphrases for fact in facts):
        return list(facts)
    # Other sentences than the recipe's contexts, which init samples with its own seed.
    contexts = sample_contexts(lm, seed + 1000)[1:3]
    return [
        replace(
            fact,
            paraphrases=fact.paraphrases
            or tuple(context.replace(PLACEHOLDER, fact.question) for context in contexts),
        )
        for fact in facts
    ]


def _with_locality(lm: LanguageModel, facts: Sequence[Fact], others: Sequence[Fact]) -> list[Fact]:
    own = [_sound(lm, fact, fact.locality) for fact in facts]
    return [
        replace(fact, locality=prompts or _neighbours(lm, fact, others))
        for fact, prompts in zip(facts, own, strict=True)
    ]


def _neighbours(lm: LanguageModel, fact: Fact, others: Sequence[Fact]) -> tuple[str, ...]:
    """Questions of other facts, those with the same prompt first."""
    foreign = [other for other in others if other.subject != fact.subject]
    alike = sorted(foreign, key=lambda other: other.prompt != fact.prompt)[: 4 * NEIGHBOURS]
    return _sound(lm, fact, [other.question for other in alike])[:NEIGHBOURS]


def _sound(lm: LanguageModel, fact: Fact, prompts: Sequence[str]) -> tuple[str, ...]:
    """The prompts at which the model prefers the true object to the new one."""
    true = forced(lm, [(prompt, str(fact.target_true)) for prompt in prompts])
    new = forced(lm, [(prompt, fact.target_new) for prompt in prompts])
    return tuple(
        prompt
        for prompt, a, b in zip(prompts, true, new, strict=True)
        if a.log_probability > b.log_probability
    )
