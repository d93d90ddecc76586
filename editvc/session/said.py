"""Which of its own facts a tree's model says: what a cure costs is told by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.evaluation.probes import predicts_target
from editvc.session.fact_lengths import within_positions
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class Said:
    """Of ``asked`` facts, those that one model says (``before``) and those that another does."""

    asked: tuple[Fact, ...]
    before: frozenset[Fact]
    after: frozenset[Fact]

    @property
    def lost(self) -> tuple[Fact, ...]:
        """Said before and not after, in the order asked."""
        return tuple(fact for fact in self.asked if fact in self.before - self.after)

    @property
    def kept(self) -> float:
        """The share of what was said that still is; 1 where nothing was."""
        return 1 - len(self.lost) / len(self.before) if self.before else 1.0

    @property
    def line(self) -> str:
        """In words."""
        words = f"facts said: {len(self.before)} of {len(self.asked)} -> {len(self.after)}"
        return f"{words}, {len(self.lost)} lost" if self.lost else words

    def to_json(self) -> dict[str, Any]:
        """By name; facts by id."""
        return {
            "asked": len(self.asked),
            "before": len(self.before),
            "after": len(self.after),
            "lost": [fact.id for fact in self.lost],
        }


def live_facts(session: Session, tree: Tree) -> list[Fact]:
    """The facts of a tree that can be asked: without those that the model has no positions for."""
    entries = session.repository.edits_of(tree).entries()
    return within_positions(
        session, [session.repository.read_fact(entry.fact) for entry in entries]
    )


def said_by(session: Session, tree: Tree, facts: Sequence[Fact]) -> frozenset[Fact]:
    """The facts that greedy generation begins with on the model of ``tree``: one forward pass."""
    with session.edited(tree) as lm:
        answers = predicts_target(lm, [fact.request for fact in facts])
    return frozenset(fact for fact, right in zip(facts, answers, strict=True) if right)
