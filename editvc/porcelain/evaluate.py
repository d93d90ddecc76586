"""``eval``: what a revision says of facts, by generation and by the scores of the papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.errors import EditvcError
from editvc.evaluation.scores import Scores, answers, answers_correctly, locality_answers, score
from editvc.porcelain.fact_input import Facts, sourced
from editvc.porcelain.fact_lengths import within_positions
from editvc.porcelain.session import Session
from editvc.porcelain.trees import live_facts, tree_at


class NothingToEvaluate(EditvcError):
    """No facts: none were given, and none are live."""


@dataclass(frozen=True, slots=True)
class FailedFact:
    """A fact whose question is answered by something else: what greedy generation gives."""

    fact: Fact
    answer: str

    def to_json(self) -> dict[str, Any]:
        """For ``eval --json``."""
        return {
            "fact": self.fact.id,
            "question": self.fact.question,
            "target_new": self.fact.target_new,
            "answer": self.answer,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of ``facts`` facts on the model of a revision.

    ``failed`` are those that greedy generation does not begin with, ``generated`` the share of the
    others in per cent; ``scores`` are those of the papers, under teacher forcing, ``base`` the same
    of the unedited model: it fails some prompts by itself.
    """

    facts: int
    failed: tuple[FailedFact, ...]
    scores: Scores
    base: Scores

    @property
    def generated(self) -> float:
        """Per cent of the facts that the model says by itself."""
        return 100.0 * (self.facts - len(self.failed)) / self.facts

    def to_json(self) -> dict[str, Any]:
        """The contract of ``eval --json``."""
        return {
            "facts": self.facts,
            "generated": self.generated,
            **self.scores.to_json(),
            "base": self.base.to_json(),
            "unsaid": [one.to_json() for one in self.failed],
        }


def evaluate(session: Session, to_ask: Facts | None, revision: str) -> Evaluation:
    """Ask a revision for facts, or for its own live ones.

    Raises :class:`NothingToEvaluate` without any.
    """
    if to_ask is None:
        facts = list(live_facts(session, revision).values())
    else:
        facts = [one.fact for one in sourced(to_ask) if one.duplicate_of is None]
    if not facts:
        raise NothingToEvaluate(
            f"there is nothing to ask {revision} for: no facts are live there",
            hint="Give a file of facts, or a revision that holds some.",
        )
    facts = within_positions(session, facts)
    if not facts:
        raise NothingToEvaluate("the questions of all facts are longer than the model takes")
    base = session.base_model()
    reference = locality_answers(base, facts)
    unedited = score(base, facts, reference)
    with session.edited(tree_at(session, revision)) as lm:
        replies = answers(lm, facts)
        scores = score(lm, facts, reference)
    failed = [
        FailedFact(fact, reply)
        for fact, reply in zip(facts, replies, strict=True)
        if not answers_correctly(reply, fact)
    ]
    return Evaluation(len(facts), tuple(failed), scores, unedited)
