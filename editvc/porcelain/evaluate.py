"""``eval``: what a revision says of facts, by generation and by the scores of the papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.porcelain.edits_result import Evaluation, NothingToEvaluate
from editvc.session.changes import fact_changes
from editvc.session.fact_input import Facts, sourced
from editvc.session.remembered import digest_of_facts, question_of, remembered
from editvc.session.session import Session
from editvc.session.trees import tree_at

__all__ = ["Evaluation", "NothingToEvaluate", "evaluate"]

PROTOCOL = 2
"""Counts the ways in which editvc has measured facts: one more where the same question would get
another answer."""


def evaluate(
    session: Session,
    to_ask: Facts | None,
    revision: str,
    *,
    max_new_tokens: int = 12,
    again: bool = False,
) -> Evaluation:
    """Ask a revision for facts, or for its own live ones; of a range A..B, B for what is new there.

    What was measured before is read from the repository, unless it shall be measured ``again``.
    Raises :class:`NothingToEvaluate` without any facts.
    """
    before, tree = ends_of(session, revision)
    facts = _facts(session, to_ask, before, tree)
    if not facts:
        raise NothingToEvaluate(
            f"there is nothing to ask {revision} for: no facts are live there",
            hint="Give a file of facts, or a revision that holds some.",
        )
    settings, data = {"max_new_tokens": max_new_tokens}, digest_of_facts(facts)

    def measured() -> Mapping[str, Any]:
        session.require_base()  # another model is refused before torch is imported
        from editvc.porcelain.edit_suite import measure_base, measure_edits

        base = remembered(
            session,
            question_of(session, Tree(base=tree.base), "edits-base", PROTOCOL, settings, data),
            lambda: measure_base(session, facts, max_new_tokens),
            again=again,
        )
        return measure_edits(session, tree, facts, base, max_new_tokens)

    question = question_of(session, tree, "edits", PROTOCOL, settings, data)
    return Evaluation.of(remembered(session, question, measured, again=again), facts)


def ends_of(session: Session, revision: str) -> tuple[Tree | None, Tree]:
    """The trees between which a range lies; of a single revision nothing and its own."""
    if ".." not in revision:
        return None, tree_at(session, revision)
    commits = session.repository.revisions.resolve_range(revision)
    first = session.repository.read_commit(commits[0])
    parent = first.parents[0] if first.parents else None
    return session.repository.tree_of(parent), session.repository.tree_of(commits[-1])


def _facts(
    session: Session, to_ask: Facts | None, before: Tree | None, tree: Tree
) -> Sequence[Fact]:
    if to_ask is not None:
        return [one.fact for one in sourced(to_ask) if one.duplicate_of is None]
    if before is None:
        entries = session.repository.edits_of(tree).entries()
        return [session.repository.read_fact(entry.fact) for entry in entries]
    changes = fact_changes(session, before, tree)
    return [*changes.added, *(new for _, new in changes.changed)]
