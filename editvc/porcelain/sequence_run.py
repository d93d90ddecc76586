"""A blind sequence of edits, run and looked at: what ``sequence`` keeps as its result.

The record, which is JSON:

- ``facts``, their ids in order; ``method``, ``fusion`` in words; ``ends``, the edits after each
  batch;
- ``prompts``, by column how many prompts each edit has
  (:class:`editvc.evaluation.sequence_measures.Trajectory`);
- ``base``, before any edit: ``held`` of all facts, ``norms`` of the weights that change, ``tasks``;
- ``at_once``, A[t, t] by column; ``sizes``, after each batch ``l1_norm`` and ``change`` of each
  weight by its name;
- ``checkpoints``, each with ``edits`` t, ``held``, A[t, j] by column for j = 1 to t, ``norms``, all
  of :class:`editvc.algebra.update_norms.WeightNorms` by weight, and ``tasks``;
- ``cosines`` between the first updates, by weight;
- ``broken``, the number of edits with which an update, or what the model gives after it, was not
  finite, or null; the record ends before it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from editvc.algebra.fusion import fusion_of
from editvc.core.facts import PLACEHOLDER
from editvc.core.history import Tree
from editvc.evaluation.abilities import TaskFileError, abilities, known
from editvc.evaluation.probes import NoProbabilities, forced
from editvc.evaluation.score_columns import MEASURED
from editvc.evaluation.scores import base_outcomes, outcomes
from editvc.evaluation.sequence_measures import COLUMNS, LOG_PROBABILITY
from editvc.materialise.blind_sequence import BlindSequence, Broken
from editvc.models.language_model import LanguageModel
from editvc.porcelain.sequence_result import SUITE, Course
from editvc.session.commit_plan import require_ready, tokenized
from editvc.session.fact_lengths import require_room
from editvc.session.session import Session

SAVED_EVERY = 60.0
"""Seconds of work that are lost at most, beside those of one batch."""

Record = dict[str, Any]


def run(session: Session, tree: Tree, course: Course, name: str) -> Record:
    """The record of a sequence on top of ``tree``.

    What was begun under ``name`` goes on from where it was kept last. Raises what making edits
    raises, ``TaskFileError``, ``UntraceableFact``, and ``TooManyTokens`` for a fact too long.
    """
    for path in course.tasks:
        if not known(path):
            raise TaskFileError(path, "is the file of no task")
    require_ready(session, course.recipe)
    require_room(session, course.sources, getattr(course.recipe, "contexts", (PLACEHOLDER,)))
    with session.edited(tree) as lm:
        for one in course.sources:
            tokenized(lm, one)  # told at its place, before any work
        return _Run(session, lm, course, name).record_of_all()


class _Run:
    """One run: the state of the weights, and the record as far as it is."""

    def __init__(self, session: Session, lm: LanguageModel, course: Course, name: str) -> None:
        self.session, self.lm, self.course, self.name = session, lm, course, name
        self.sequence = BlindSequence(
            session.materialiser, lm, course.recipe, fusion_of(course.rule), course.compared
        )
        self.saved = time.monotonic()
        if not self._restore():
            self._begin()

    def record_of_all(self) -> Record:
        """Edit in what is left, look, and tell."""
        course, record = self.course, self.record
        spans = [*zip((0, *course.ends), course.ends, strict=False)]
        for low, high in spans[self.sequence.steps :]:
            self._tell(low)
            batch = course.facts[low:high]
            try:
                heard = self.session.progress if len(batch) > 1 else None
                self.sequence.advance(batch, heard)
                self._look(low, high, high in course.checkpoints)
            except Broken:
                record["broken"] = high
                break
        done = record["ends"][-1] if record["ends"] else 0
        if done and done not in [one["edits"] for one in record["checkpoints"]]:
            self._check_before(done)
        self._tell(len(course.facts))
        record["base"]["norms"] = self.sequence.norms_before()
        record["cosines"] = self.sequence.cosines()
        return record

    def _begin(self) -> None:
        course = self.course
        unedited = base_outcomes(self.lm, course.facts)
        rows, self.first = unedited.rows, unedited.first_tokens
        prompts = {column: [len(row[column]) for row in rows] for column in MEASURED}
        self.record: Record = {
            "suite": SUITE,
            "facts": [fact.id for fact in course.facts],
            "method": course.recipe.method,
            "fusion": course.rule.words,
            "ends": [],
            "prompts": prompts | {LOG_PROBABILITY: [1] * len(rows)},
            "base": {"held": self._marks(self.lm, 0, len(course.facts)), "tasks": self._tasks()},
            "at_once": {column: [] for column in COLUMNS},
            "sizes": [],
            "checkpoints": [],
            "cosines": {},
            "broken": None,
        }

    def _look(self, low: int, high: int, checkpoint: bool) -> None:
        """What a batch has done to itself, and at a checkpoint to all before it; then keep it.

        Raises :class:`Broken`, without that batch, where the model gives no probabilities after it.
        """
        record = self.record
        try:
            with self.sequence.at_work() as lm:
                new = self._marks(lm, low, high)
                found = self._checked(lm, low, high, new) if checkpoint else None
        except NoProbabilities as cause:
            self.sequence.withdraw()
            raise Broken from cause
        for column, values in new.items():
            record["at_once"][column] += values
        record["ends"].append(high)
        record["sizes"].append(self.sequence.sizes())
        if found:
            record["checkpoints"].append(found)
        if found or time.monotonic() - self.saved > SAVED_EVERY:
            self._save()

    def _check_before(self, edits: int) -> None:
        """A checkpoint of a sequence that broke: how it stood before, if that can be asked."""
        record = self.record
        low = record["ends"][-2] if len(record["ends"]) > 1 else 0
        last = {column: values[low:edits] for column, values in record["at_once"].items()}
        with suppress(NoProbabilities), self.sequence.at_work() as lm:
            record["checkpoints"].append(self._checked(lm, low, edits, last))

    def _checked(
        self, lm: LanguageModel, low: int, high: int, last: Mapping[str, list[float]]
    ) -> Record:
        """A checkpoint: batches before ``low`` are asked again, the ``last`` one was just asked."""
        earlier, tasks = self._marks(lm, 0, low), self._tasks()
        return {
            "edits": high,
            "held": {column: [*values, *last[column]] for column, values in earlier.items()},
            "norms": self.sequence.norms(),
            "tasks": tasks,
        }

    def _marks(self, lm: LanguageModel, low: int, high: int) -> dict[str, list[float]]:
        """Columns of facts ``low`` to ``high`` on the model as it is."""
        facts = self.course.facts[low:high]
        if not facts:
            return {column: [] for column in COLUMNS}
        skipped = sum(len(fact.locality) for fact in self.course.facts[:low])
        asked = sum(len(fact.locality) for fact in facts)
        rows = outcomes(lm, facts, self.first[skipped : skipped + asked])
        said = forced(lm, [(fact.question, fact.target_new) for fact in facts])
        counts: dict[str, list[float]] = {
            column: [sum(row[column]) for row in rows] for column in MEASURED
        }
        return {**counts, LOG_PROBABILITY: [one.log_probability for one in said]}

    def _tasks(self) -> Mapping[str, Any]:
        return abilities(self.lm, self.course.tasks, self.course.items)

    def _tell(self, done: int) -> None:
        if self.session.progress is not None:
            self.session.progress("edits", done, len(self.course.facts))

    # -- stopping and going on ------------------------------------------------------------------

    def _save(self) -> None:
        head = json.dumps({"record": self.record, "first": self.first}).encode()
        data = len(head).to_bytes(8, "little") + head + self.sequence.to_bytes()
        self.session.repository.cache.put(SUITE, self.name, data)
        self.saved = time.monotonic()

    def _restore(self) -> bool:
        """Whether there was anything to go on from."""
        data = self.session.repository.cache.get(SUITE, self.name)
        if data is None:
            return False
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        self.record, self.first = head["record"], head["first"]
        self.sequence.restore(data[8 + size :], len(self.record["ends"]))
        return True
