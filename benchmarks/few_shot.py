"""SST-2, RTE and MMLU with a few solved items before each question: accuracy in per cent.

Which items are solved and which are asked hangs on the seed alone. The solved ones are run once a
task, and every question goes on from their cache.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editvc.models.forward import batches, padded_right
from editvc.models.language_model import LanguageModel

SEED = 17
ASKED = 200
"""Items a task, or as many as there are: a standard error of 3.5 points at most."""


@dataclass(frozen=True, slots=True)
class Task:
    """How an item becomes text. ``label`` is the number of the right one of ``choices``."""

    file: str
    shots: int
    choices: tuple[str, ...]
    text: Callable[[Mapping[str, Any]], str]
    label: Callable[[Mapping[str, Any]], int]


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
        solved = "".join(f"{task.text(item)}{task.choices[task.label(item)]}\n\n" for item in shots)
        chosen = choose(lm, solved, [task.text(item) for item in asked], task.choices)
        right = [task.label(item) == choice for item, choice in zip(asked, chosen, strict=True)]
        found[name] = 100 * sum(right) / len(right)
    return found


def split(
    items: Sequence[Mapping[str, Any]], task: Task
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Items to show solved, each choice as often as the others, and items to ask."""
    shuffled = random.Random(SEED).sample(items, len(items))
    of_choice = {
        number: [item for item in shuffled if task.label(item) == number]
        for number in range(len(task.choices))
    }
    each = task.shots // len(task.choices)
    shots = [of_choice[number][place] for place in range(each) for number in of_choice]
    return shots, [item for item in shuffled if item not in shots][:ASKED]


@torch.no_grad()
def choose(
    lm: LanguageModel, solved: str, questions: Sequence[str], choices: Sequence[str]
) -> list[int]:
    """The likeliest choice after each question, by the first token of each; ties to the first."""
    first = [lm.tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in choices]
    if len({*first}) < len(first):
        raise ValueError(f"two of {list(choices)} begin with the same token")
    before = lm.tokenizer(solved)["input_ids"]
    rows = [lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in questions]
    with lm.eval_mode():
        kept = lm.body(input_ids=torch.tensor([before], device=lm.device), use_cache=True)
        chosen: dict[int, int] = {}
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        for batch in batches(order, lambda index: len(before) + lengths[index]):
            cache = deepcopy(kept.past_key_values)
            cache.batch_repeat_interleave(len(batch))
            ids, mask = padded_right([rows[index] for index in batch], lm.device)
            seen = torch.cat([mask.new_ones(len(batch), len(before)), mask], dim=1)
            hidden = lm.body(
                input_ids=ids, attention_mask=seen, past_key_values=cache, use_cache=True
            )[0]
            last = hidden[torch.arange(len(batch)), mask.sum(1) - 1]  # (rows, u)
            best = lm.logits(last)[:, first].argmax(-1)
            chosen.update(zip(batch, best.tolist(), strict=True))
    return [chosen[index] for index in range(len(rows))]
