"""``sequence``: facts edited blindly one after the other, and what becomes of the earlier ones.

Nothing is committed: the model is edited in memory, and what was measured is kept as a result.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.fusion_rule import FusionRule
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.errors import EditvcError
from editvc.evaluation.sequence_measures import Trajectory
from editvc.porcelain.edits_result import NothingToEvaluate
from editvc.porcelain.measure import task_files
from editvc.porcelain.sequence_result import SUITE, Course, SequenceResult
from editvc.session.fact_input import Facts, sourced
from editvc.session.remembered import digest_of_facts, question_of, remembered
from editvc.session.session import Session
from editvc.session.trees import tree_at

PROTOCOL = 1
"""Counts the ways in which editvc has run sequences: one more where the same would differ."""


class NoSuchCheckpoint(EditvcError):
    """A checkpoint that no sequence of these facts comes to."""

    def __init__(self, checkpoint: int, facts: int) -> None:
        super().__init__(
            f"there is no checkpoint after {checkpoint} edits of {facts}",
            hint="Checkpoints are numbers of edits, from 1 to that of the facts.",
        )


class NoSequence(EditvcError):
    """A method whose edits do not depend on the weights that they are made on."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"{method} gives each fact neurons of its own: a sequence of them is a set",
            hint="Commit them, and ask `editvc eval --suite forgetting`; or name another --method.",
        )
        self.method = method


def run_sequence(
    session: Session,
    facts: Facts,
    *,
    recipe: Recipe,
    batch: int = 1,
    fusion: str = "sum",
    checkpoints: int | Sequence[int] = 10,
    at: str = "base",
    tasks: Sequence[Path] = (),
    items: int = 200,
    compared: int = 20,
    again: bool = False,
) -> SequenceResult:
    """Edit facts blindly, batch after batch, on top of the revision ``at``.

    ``fusion`` is a rule of :data:`editvc.core.fusion_rule.RULES` with its numbers behind colons.
    ``checkpoints`` are numbers of edits, or one number N for every N edits; the end is always one.
    What was measured before is read, and what was begun goes on from its last checkpoint.
    Raises :class:`NoSequence`, :class:`NoSuchCheckpoint`, ``FusionError``, and what making edits
    raises.
    """
    tree = tree_at(session, at)
    taken = _distinct(facts)
    recipe = _ready(session, recipe)
    ends = [*range(batch, len(taken), batch), len(taken)]
    course = Course(
        sources=taken, recipe=recipe, rule=FusionRule.of(fusion), ends=tuple(ends),
        checkpoints=_checkpoints(checkpoints, ends),
        tasks=tuple(task_files(tasks)) if tasks else (), items=items, compared=compared,
    )  # fmt: skip
    question = question_of(
        session, tree, SUITE, PROTOCOL, course.settings, digest_of_facts(course.facts)
    )

    def measured() -> Mapping[str, Any]:
        session.require_base()  # another model is refused before torch is imported
        from editvc.porcelain.sequence_run import run

        return run(session, tree, course, question.digest)

    record = remembered(session, question, measured, again=again)
    session.repository.cache.drop(SUITE, question.digest)
    return SequenceResult(record, Trajectory.of(record))


def _distinct(facts: Facts) -> tuple[SourcedFact, ...]:
    """The facts, each once. Raises ``NothingToEvaluate``."""
    taken = tuple(one for one in sourced(facts) if one.duplicate_of is None)
    if not taken:
        raise NothingToEvaluate("there is nothing to edit in: no facts were given")
    return taken


def _ready(session: Session, recipe: Recipe) -> Recipe:
    """The recipe with statistics, which are taken where there are none yet.

    Raises :class:`NoSequence`.
    """
    if recipe.row.element == "gate":
        raise NoSequence(recipe.method)
    if not isinstance(recipe, LocatedRecipe) or recipe.statistics is not None:
        return recipe
    session.require_base()
    from editvc.session.take_statistics import with_statistics

    return with_statistics(session, recipe)


def _checkpoints(wanted: int | Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """The ends of batches at or behind the numbers that are wanted, and the last."""
    facts = ends[-1]
    numbers = [*range(wanted, facts, wanted)] if isinstance(wanted, int) else [*wanted]
    for number in numbers:
        if not 1 <= number <= facts:
            raise NoSuchCheckpoint(number, facts)
    return tuple(sorted({ends[bisect_left(ends, number)] for number in (*numbers, facts)}))
