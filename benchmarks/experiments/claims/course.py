"""Series out of the rows of sequences, and what several claims ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from experiments.items import UNMEASURED, UNTESTABLE, Plot, Table, Verdict, number, per_cent
from experiments.parts import PUBLISHED
from experiments.rows import Missing, Row, Rows

Points = list[tuple[float, float]]
COLLAPSED_EFF, COLLAPSED_PERPLEXITY = 10.0, 5.0
"""Ours: a model has collapsed where less than 10% of its edits hold, or its perplexity is 5 times
the base's."""
NEARLY_NOTHING = 5.0
"""Ours: per cent of written answers that a model scores without any ability."""
SUDDEN = 0.5
"""Ours: a rise is sudden where one step between checkpoints is half of all of it."""


def numbers_of(rows: Rows, part: str, **wanted: Any) -> Row:
    """The numbers of the longest run."""
    numbers: Row = rows.largest(part, **wanted)["numbers"]
    return numbers


def published(rows: Rows, method: str, **wanted: Any) -> Row:
    """The longest sequence of ROME or MEMIT as published, in the first order."""
    return numbers_of(
        rows, f"sequence-{method}", method=method, options=PUBLISHED, **{"seed": 0, **wanted}
    )


def other(rows: Rows, method: str, **wanted: Any) -> Row:
    """The sequence of another method."""
    return numbers_of(rows, "sequence-others", method=method, **wanted)


def at_checkpoints(run: Row, what: Callable[[Row], float | None]) -> Points:
    """One figure of the checkpoints, by edits."""
    points = [(one["edits"], what(one)) for one in run["checkpoints"]]
    return [(edits, value) for edits, value in points if value is not None]


def overall(run: Row, column: str = "eff") -> Points:
    """D4S's Overall(t)."""
    return at_checkpoints(run, lambda one: one["overall"][column])


def forgotten(run: Row, column: str = "es") -> Points:
    """Gupta et al.'s F(t)."""
    return at_checkpoints(run, lambda one: one["forgotten"][column])


def growth(run: Row) -> Points:
    """Perplexity over the base's."""
    return at_checkpoints(run, lambda one: one["perplexity"] / run["base_perplexity"])


def norm(run: Row, name: str, over_base: bool = False) -> Points:
    """One norm, of the weight that it is largest of at the end, by edits."""
    weights = run["checkpoints"][-1]["norms"]
    weight = max(weights, key=lambda one: weights[one][name])
    base = run["base_norms"][weight][name] if over_base else 1.0
    return at_checkpoints(run, lambda one: one["norms"][weight][name] / base)


def window(run: Row, column: str, size: int = 50) -> Points:
    """Success of new edits in windows."""
    values = run["windows"][column][str(size)]
    return [(place, value) for place, value in enumerate(values, 1) if value is not None]


def collapse(run: Row) -> int | None:
    """The first checkpoint at which a model has collapsed."""
    for one in run["checkpoints"]:
        held = one["overall"]["eff"]
        ratio = one["perplexity"] / run["base_perplexity"]
        if (held is not None and held < COLLAPSED_EFF) or ratio > COLLAPSED_PERPLEXITY:
            edits: int = one["edits"]
            return edits
    broken: int | None = run["broken"]
    return broken


def sudden(points: Points) -> tuple[float, float]:
    """The edits at which a series rises most in one step, and the share of its whole rise."""
    steps = [(after[0], after[1] - before[1]) for before, after in pairwise(points)]
    edits, largest = max(steps, key=lambda step: step[1])
    whole = max(value for _, value in points) - points[0][1]
    return edits, largest / whole if whole > 0 else 0.0


def too_short(run: Row, what: str) -> Verdict:
    """For what only a longer sequence could show."""
    edits = run["ends"][-1] if run["ends"] else 0
    return Verdict(UNMEASURED, f"{what} in {number(edits)} edits, the longest run so far")


def needs(*tasks: str) -> Callable[[Rows], Verdict]:
    """A judge of claims about tasks: the unedited model has to do better at them than chance.

    What is written has no chance level; there it is :data:`NEARLY_NOTHING`.
    """

    def judge(rows: Rows) -> Verdict:
        found = {task: numbers_of(rows, "abilities", task=task) for task in tasks}
        able = [
            task
            for task, one in found.items()
            if one.get("interval") and one["interval"][0] > one.get("chance", NEARLY_NOTHING)
        ]
        told = ", ".join(f"{task} {_scored(one)}" for task, one in found.items())
        if able:
            return Verdict(UNMEASURED, f"the unedited model can do {', '.join(able)} ({told}); a "
                           "sequence with these tasks is wanted")  # fmt: skip
        return Verdict(UNTESTABLE, f"the unedited model does not do better than chance: {told}")

    return judge


def _scored(one: Row) -> str:
    """The first figure of a task, with its chance level where it has one."""
    value = next((one[name] for name in ("accuracy", "exact", "rouge") if name in one), None)
    return per_cent(value) + (f" (chance {per_cent(one['chance'])})" if "chance" in one else "")


def last(points: Sequence[tuple[float, float]]) -> float:
    """The value at the end."""
    return points[-1][1]


def known_runs(rows: Rows, wanted: Sequence[tuple[str, Callable[[Rows], Row]]]) -> dict[str, Row]:
    """Of some runs those that were measured, by label. Raises :class:`Missing` where none was."""
    found, missing = {}, None
    for label, find in wanted:
        try:
            found[label] = find(rows)
        except Missing as error:
            missing = error
    if not found and missing:
        raise missing
    return found


COMPARED: Sequence[tuple[str, Callable[[Rows], Row]]] = (
    ("ROME", lambda rows: published(rows, "rome")),
    ("MEMIT", lambda rows: published(rows, "memit")),
    ("MEND", lambda rows: other(rows, "mend")),
    ("FT-C, 5e-4", lambda rows: other(rows, "ft-c", options=[])),
    ("FT-C, to scale", lambda rows: other(
        rows, "ft-c", options=["relative_constraint=0.05", "norm_constraint=0"])),
    ("GRACE", lambda rows: other(rows, "grace")),
    ("PMET", lambda rows: other(rows, "pmet")),
)  # fmt: skip
"""The sequences that papers draw beside each other."""


def lines(
    name: str,
    title: str,
    y: str,
    series: Callable[[Row], Points],
    runs: Sequence[tuple[str, Callable[[Rows], Row]]] = COMPARED,
    logarithmic: bool = False,
) -> Callable[[Rows], list[Plot]]:
    """A plot of one series of several sequences against the number of edits."""

    def show(rows: Rows) -> list[Plot]:
        drawn = {label: series(run) for label, run in known_runs(rows, runs).items()}
        return [Plot(name, title, "edits", y, drawn, logarithmic=logarithmic)]

    return show


def scores_table(rows: Rows, part: str, columns: Sequence[str], **wanted: Any) -> Table:
    """One row a setting, with columns of its numbers."""
    found = rows.some(part, **wanted)
    names = [*dict.fromkeys(name for row in found for name in row["setting"])]
    cells = [
        [_cell(row["setting"].get(name)) for name in names]
        + [number(row["numbers"].get(column)) for column in columns]
        for row in found
    ]
    return Table([*names, *columns], cells)


def _cell(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def rising(points: Points) -> bool:
    """Whether a series rises from each checkpoint to the next."""
    return all(before[1] < after[1] for before, after in pairwise(points))
