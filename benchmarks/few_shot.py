"""SST-2, RTE and MMLU with a few solved items before each question: accuracy in per cent.

Items are drawn and answers chosen by :mod:`editvc.evaluation.few_shot`; the templates are those of
this benchmark's table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editvc.evaluation.few_shot import ASKED, Task, choose, solved, split
from editvc.models.language_model import LanguageModel

__all__ = ["ASKED", "TASKS", "Task", "accuracies", "choose", "split"]


def _mmlu(item: Mapping[str, Any]) -> str:
    options = "".join(
        f"{letter}. {choice}\n" for letter, choice in zip("ABCD", item["choices"], strict=True)
    )
    return f"{item['question'].strip()}\n{options}Answer:"


TASKS: Mapping[str, Task] = {
    "sst2": Task(
        "sst2.jsonl", 4, (" negative", " positive"),
        lambda item: f"Review: {item['sentence'].strip()}\nSentiment:",
        lambda item: item["label"],
    ),
    "rte": Task(
        "rte.jsonl", 2, (" yes", " no"),
        lambda item: f"{item['sentence1'].strip()}\nQuestion: Does it follow that "
        f"{item['sentence2'].strip()}\nAnswer:",
        lambda item: item["label"],
    ),
    "mmlu": Task(
        "mmlu.jsonl", 4, (" A", " B", " C", " D"), _mmlu, lambda item: item["answer"]
    ),
}  # fmt: skip


def accuracies(lm: LanguageModel, folder: Path) -> dict[str, float]:
    """Per cent of the items of each task whose right choice is the likeliest."""
    found = {}
    for name, task in TASKS.items():
        lines = (folder / task.file).read_text(encoding="utf-8").splitlines()
        shots, asked = split([json.loads(line) for line in lines], task)
        before = solved(shots, task)
        chosen = choose(lm, before, [task.text(item) for item in asked], task.choices)
        right = [task.label(item) == choice for item, choice in zip(asked, chosen, strict=True)]
        found[name] = 100 * sum(right) / len(right)
    return found
