"""What the papers make of a blind sequence: the matrix A[t, j], and the figures that it gives.

A[t, j] says how edit j does after t edits, j <= t, in each column of
:class:`editvc.evaluation.score_columns.Scores`. It is known at ``t = j``, where an edit was just
made (with a batch: where its batch was), and for all j at checkpoints t. An edit with several
prompts of a kind counts each; it *holds* where all of them come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from editvc.evaluation.forgetting import Held, forgetting
from editvc.evaluation.score_columns import MEASURED

LOG_PROBABILITY = "log_probability"
"""Beside the columns: the mean over the new object's tokens after the prompt, in nats."""

COLUMNS = (*MEASURED, LOG_PROBABILITY)

Marks = Mapping[str, Sequence[float]]
"""By column, for some edits in order: how many of an edit's prompts came out; or its figure."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A sequence of edits 1, 2, ... and how they did.

    ``ends`` are the numbers of edits after each batch; ``prompts`` counts each edit's prompts by
    column; ``at_once`` has A[j, j] of all edits, ``later[t]`` has A[t, 1..t] at a checkpoint t,
    which is one of ``ends``.
    """

    ends: tuple[int, ...]
    prompts: Mapping[str, Sequence[int]]
    at_once: Marks
    later: Mapping[int, Marks]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Trajectory:
        """Of the record of a sequence (:mod:`editvc.porcelain.sequence_run`)."""
        return cls(
            ends=tuple(record["ends"]),
            prompts=record["prompts"],
            at_once=record["at_once"],
            later={one["edits"]: one["held"] for one in record["checkpoints"]},
        )

    def window(self, column: str, size: int) -> list[float | None]:
        """Success of new edits in windows: at t the per cent over edits t - size + 1 to t.

        Gupta et al. have windows of 5 and 50. None where these edits have no such prompt.
        """
        asked, right = self.prompts[column], self.at_once[column]
        spans = [(max(0, end - size), end) for end in range(1, len(right) + 1)]
        return [_per_cent(right[low:high], asked[low:high]) for low, high in spans]

    def overall(self, column: str) -> dict[int, float | None]:
        """D4S's Overall(t), the mean of A[t, j] over j <= t, per cent of prompts by checkpoint."""
        return {
            t: _per_cent(marks[column], self.prompts[column][:t]) for t, marks in self.later.items()
        }

    def blocks(self, column: str, size: int, t: int | None = None) -> list[float | None]:
        """D4S's degree of forgetting: per cent after t edits by blocks of edits, the oldest first.

        t is the last checkpoint where none is named; D4S has blocks of 100 after 1,000.
        """
        t = max(self.later) if t is None else t
        right, asked = self.later[t][column], self.prompts[column]
        starts = range(0, t, size)
        return [_per_cent(right[low : low + size], asked[low : min(t, low + size)])
                for low in starts]  # fmt: skip

    def forgotten(self, column: str) -> dict[int, float | None]:
        """F(t) of Gupta et al., in per cent, by checkpoint: of earlier edits that held at once."""
        held = self._held(column)
        steps = {end: step for step, end in enumerate(self.ends)}
        return {t: forgetting(held, steps[t]) for t in self.later}

    def _held(self, column: str) -> Held:
        """A as booleans, by numbers of batches."""
        spans = [*pairwise((0, *self.ends))]
        steps = {end: step for step, end in enumerate(self.ends)}
        held: dict[tuple[int, int], list[bool | None]] = {}
        for step, (low, high) in enumerate(spans):
            held[step, step] = self._holding(column, self.at_once, low, high)
        for t, marks in self.later.items():
            for step in range(steps[t]):
                held[steps[t], step] = self._holding(column, marks, *spans[step])
        return held

    def _holding(self, column: str, marks: Marks, low: int, high: int) -> list[bool | None]:
        asked, right = self.prompts[column][low:high], marks[column][low:high]
        return [
            bool(one == count) if count else None for one, count in zip(right, asked, strict=False)
        ]


def _per_cent(right: Sequence[float], asked: Sequence[int]) -> float | None:
    return 100.0 * sum(right) / sum(asked) if sum(asked) else None
