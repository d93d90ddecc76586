"""What ``eval`` finds out about facts, as it is kept and told. Read without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.errors import EditvcError
from editvc.evaluation.score_columns import Scores


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
    of the unedited model: it fails some prompts by itself. ``record`` is all of it as JSON, with
    every answer, and 95% intervals (bootstrap over facts).
    """

    facts: int
    failed: tuple[FailedFact, ...]
    scores: Scores
    base: Scores
    record: Mapping[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any], facts: Sequence[Fact]) -> Evaluation:
        """From what was kept, for the facts that it is about."""
        by_id = {fact.id: fact for fact in facts}
        names = Scores.__slots__
        return cls(
            facts=record["facts"],
            failed=tuple(FailedFact(by_id[one["fact"]], one["answer"]) for one in record["unsaid"]),
            scores=Scores(**{name: record[name] for name in names}),
            base=Scores(**{name: record["base"][name] for name in names}),
            record=record,
        )

    @property
    def generated(self) -> float:
        """Per cent of the facts that the model says by itself."""
        return 100.0 * (self.facts - len(self.failed)) / self.facts

    def interval(self, column: str) -> tuple[float, float] | None:
        """The 95% interval of a column of the papers, or of ``group.way`` of generation."""
        found = self.record["intervals"][column]
        return None if found is None else (found[0], found[1])

    def to_json(self) -> dict[str, Any]:
        """The contract of ``eval --json``."""
        return {**self.record}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row a fact, for ``eval --csv``: answer, per cent of its prompts, objective."""
        for one in self.record["per_fact"]:
            head = {name: one[name] for name in ("fact", "question", "target_new", "answer")}
            aim = {f"objective.{name}": value for name, value in one["objective"].items()}
            yield head | one["scores"] | aim
