"""The Multi-Question form of facts: one triple, asked for in three ways.

Huang et al. 2024 (Reasons and Solutions for the Decline in Model Performance after Editing,
arXiv 2410.23843, section 3.2 and Table 1) make three data sets of the same triples: *dg*, the
object is generated; *mq*, its letter among four options; *tf*, whether the sentence is logical.
They find that the damage of an edit goes with the kind of its objective.

Distractors are objects of facts of other relations, never one that another fact gives for the same
subject. Which ones, at which letter, and whether a sentence is a true one depend on the seed and
the fact itself, and not on the order of the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from editvc.core.cut import quoted
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.ids import digest_of, normalised
from editvc.errors import EditvcError

LETTERS = ("a", "b", "c", "d")


class NoTriple(EditvcError):
    """A fact that no question with wrong answers can be made of."""

    def __init__(self, fact: Fact, problem: str, hint: str) -> None:
        super().__init__(f"{quoted(fact.question)}: {problem}", hint=hint)
        self.fact = fact


def multi_question(facts: Sequence[Fact], form: str, seed: int = 0) -> list[Fact]:
    """Every fact in one of the :data:`FORMS`, in the order given.

    The questions of two forms of one fact are about different slots, so that all may be live
    together: *mq* and *tf* go by their prompts, not by the relation. Paraphrases are asked in the
    same form; locality prompts stay. Raises :class:`NoTriple` for *mq* and *tf* of a fact without
    a relation, or without enough objects of other relations.
    """
    return [FORMS[form](fact, facts, seed) for fact in facts]


def _directly(fact: Fact, _facts: Sequence[Fact], _seed: int) -> Fact:
    return fact


def _multiple_choice(fact: Fact, facts: Sequence[Fact], seed: int) -> Fact:
    options = _distractors(fact, facts, seed, len(LETTERS) - 1)
    place = _drawn(seed, fact, "letter") % len(LETTERS)
    options.insert(place, fact.target_new)
    listed = "; ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, options, strict=True))
    behind = f" ? Below are four options: {listed}. The correct option is"
    return _asked(fact, behind, LETTERS[place])


def _true_or_false(fact: Fact, facts: Sequence[Fact], seed: int) -> Fact:
    true = _drawn(seed, fact, "truth") % 2 == 0
    (wrong,) = _distractors(fact, facts, seed, 1)
    said = fact.target_new if true else wrong
    behind = f" {said} . Is this sentence logical? Please answer yes or no. A:"
    return _asked(fact, behind, "yes" if true else "no")


FORMS: Mapping[str, Callable[[Fact, Sequence[Fact], int], Fact]] = {
    "dg": _directly,
    "mq": _multiple_choice,
    "tf": _true_or_false,
}
"""The three kinds of questions, by the paper's names for them."""


def _asked(fact: Fact, behind: str, answer: str) -> Fact:
    return replace(
        fact,
        prompt=fact.prompt + behind,
        target_new=answer,
        target_true=None,
        relation=None,
        paraphrases=tuple(text + behind for text in fact.paraphrases),
    )


def _distractors(fact: Fact, facts: Sequence[Fact], seed: int, count: int) -> list[str]:
    """Objects of other relations, ``count`` of them, in an order that the seed draws."""
    if fact.relation is None:
        raise NoTriple(
            fact,
            "has no relation, which wrong answers are chosen by",
            'Name it in the record, like "relation": "capital".',
        )
    subject = normalised(fact.subject)
    right = {one.target_new for one in facts if normalised(one.subject) == subject}
    own = {one.target_new for one in facts if one.relation == fact.relation}
    others = {one.target_new for one in facts if one.relation not in (None, fact.relation)}
    fitting = {text for text in others - own - right - {fact.target_new} if PLACEHOLDER not in text}
    if len(fitting) < count:
        raise NoTriple(
            fact,
            f"needs {count} wrong answers from other relations, and there are {len(fitting)}",
            "Convert more facts together, of more relations.",
        )
    return sorted(fitting, key=lambda text: _drawn(seed, fact, text))[:count]


def _drawn(seed: int, fact: Fact, what: str) -> int:
    return int(digest_of(["multi-question", seed, fact.id, what])[:16], 16)
