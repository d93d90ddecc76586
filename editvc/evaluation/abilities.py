"""What a model can do beside facts: tasks with their scores and 95% intervals, and perplexities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.evaluation.ability_tasks import CHOICES, WRITING, WritingTask
from editvc.evaluation.bootstrap import intervals, mean_interval
from editvc.evaluation.few_shot import Item, Task, balanced, choose, fits, solved, split, write
from editvc.evaluation.probes import perplexity
from editvc.models.language_model import LanguageModel

Figures = dict[str, Any]
"""``value``, ``low``, ``high`` by name, in per cent, and how many items were ``asked``."""


FILES = {task.file: name for name, task in CHOICES.items()} | {
    task.file: name for name, task in WRITING.items()
}
"""The task that a file of this name holds."""


class TaskFileError(EditvcError):
    """A file of a task that cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: {problem}",
            hint="Tasks are "
            + ", ".join(FILES)
            + ", a JSON object a line, and any .txt for perplexity.",
        )
        self.path = path


def known(path: Path) -> bool:
    """Whether a file is one of a task, or a text."""
    return path.suffix == ".txt" or path.name in FILES


def abilities(
    lm: LanguageModel, paths: Sequence[Path], items: int, progress: Progress | None = None
) -> dict[str, Figures]:
    """Scores of the tasks and texts in some files, by name; ``items`` bounds those of a task.

    Raises :class:`TaskFileError`.
    """
    found: dict[str, Figures] = {}
    for number, path in enumerate(paths):
        if progress is not None:
            progress("tasks", number, len(paths))
        if path.suffix == ".txt":
            try:
                value = perplexity(lm, path.read_text(encoding="utf-8"), blocks=items)
            except ValueError as cause:
                raise TaskFileError(path, f"is no text to ask: {cause}") from cause
            found[f"perplexity {path.stem}"] = {"value": value}
        else:
            name = FILES[path.name]
            try:
                rows = read_items(path)
                task = CHOICES.get(name)
                found[name] = (
                    written(lm, WRITING[name], rows, items)
                    if task is None
                    else chosen(lm, task, rows, items)
                )
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as cause:
                raise TaskFileError(path, f"is no file of this task: {cause!r}") from cause
    return found


def read_items(path: Path) -> list[Item]:
    """The items in a file of a task, a JSON object a line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def chosen(lm: LanguageModel, task: Task, rows: Sequence[Item], items: int) -> Figures:
    """Accuracy and macro F1 over items of which each choice is right equally often.

    Items that do not fit into the model's positions behind the solved ones are left out.
    """
    shots, rest = split(rows, task, len(rows))
    before = solved(shots, task)
    asked = balanced([item for item in rest if fits(lm, before, task.text(item), 1)], task, items)
    if not asked:
        return _nothing(rest)
    picked = choose(lm, before, [task.text(item) for item in asked], task.choices)
    labels = [task.label(item) for item in asked]
    pairs = [*zip(labels, picked, strict=True)]
    bounds = intervals([{"accuracy": [label == pick]} for label, pick in pairs], ["accuracy"])
    return {
        "accuracy": 100 * sum(label == pick for label, pick in pairs) / len(pairs),
        "interval": bounds["accuracy"],
        "f1": macro_f1(labels, picked, len(task.choices)),
        "chance": 100 / len(task.choices),
        "asked": len(asked),
        "shots": len(shots),
    }


def macro_f1(labels: Sequence[int], picked: Sequence[int], choices: int) -> float:
    """Mean over the choices of the F1 of each, in per cent; 0 for one that is never right."""
    scores = []
    for choice in range(choices):
        right = sum(a == b == choice for a, b in zip(labels, picked, strict=True))
        total = sum(one == choice for one in (*labels, *picked))
        scores.append(2 * right / total if total else 0.0)
    return 100 * sum(scores) / len(scores)


def written(lm: LanguageModel, task: WritingTask, rows: Sequence[Item], items: int) -> Figures:
    """Means of what the answers to the first items are worth, in per cent, with 95% intervals."""
    shots, rest = rows[: task.shots], rows[task.shots :]
    before = "".join(f"{task.text(item)}{task.answer(item)}\n\n" for item in shots)
    room = task.max_new_tokens
    asked = [item for item in rest if fits(lm, before, task.text(item), room)][:items]
    if not asked:
        return _nothing(rest)
    answers = write(lm, before, [task.text(item) for item in asked], room)
    worth = [task.worth(answer, item) for answer, item in zip(answers, asked, strict=True)]
    figures: Figures = {}
    for name in worth[0]:
        values = 100 * np.array([one[name] for one in worth])
        figures[name] = float(values.mean())
        figures.setdefault("interval", mean_interval(values))
    return figures | {"asked": len(asked), "shots": len(shots)}


def _nothing(rest: Sequence[Mapping[str, Any]]) -> Figures:
    return {"asked": 0, "skipped": f"none of {len(rest)} items fits into the model's positions"}
