"""Choices after solved items, against one whole pass a question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import few_shot
import pytest
import torch
from few_shot import TASKS, accuracies, choose, split
from tiny_models import lm_of, tiny_gpt2, tiny_llama

from editvc.models.language_model import LanguageModel


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_the_likeliest_choice_is_that_of_a_whole_pass(
    build, chat: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editvc.models.forward.TOKENS_PER_BATCH", 120)  # several batches
    tokenizer = chat.tokenizer
    lm = lm_of(build(len(tokenizer)), tokenizer)
    solved, choices = "London? y\n\nRome? n\n\n", tuple("ynatbcdefgh")
    questions = [f"{'old ' * (number % 4)}{name}" for number, name in enumerate("abcdefgh")]
    first = [tokenizer(choice)["input_ids"][0] for choice in choices]
    expected = []
    for text in questions:
        ids = tokenizer(solved)["input_ids"] + tokenizer(text)["input_ids"]
        logits = lm.model(input_ids=torch.tensor([ids])).logits[0, -1]
        expected.append(int(logits[first].argmax()))
    assert choose(lm, solved, questions, choices) == expected
    assert len({*expected}) > 1


def test_choices_that_begin_alike_are_refused(chat: LanguageModel) -> None:
    with pytest.raises(ValueError, match="same token"):
        choose(chat, "", ["Rome?"], ("yes", "you"))


def test_solved_items_show_each_choice_as_often_and_are_not_asked() -> None:
    task = TASKS["sst2"]
    items = [{"sentence": f"s{number}", "label": int(number < 30)} for number in range(40)]
    shots, asked = split(items, task)
    assert sorted(item["label"] for item in shots) == [0, 0, 1, 1]
    assert len(asked) == 36 and not [item for item in asked if item in shots]
    assert (shots, asked) == split(items, task)
    assert asked != [item for item in items if item not in shots]


def test_accuracy_is_the_share_of_right_choices(
    chat: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(TASKS["sst2"], shots=2, choices=("n", "p"))
    monkeypatch.setattr(few_shot, "TASKS", {"sst2": task})
    items = [{"sentence": f"{'a ' * n}film", "label": n % 2} for n in range(12)]
    (tmp_path / "sst2.jsonl").write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    shots, asked = split(items, task)
    solved = "".join(f"{task.text(one)}{task.choices[one['label']]}\n\n" for one in shots)
    chosen = choose(chat, solved, [task.text(one) for one in asked], task.choices)
    right = sum(one["label"] == pick for one, pick in zip(asked, chosen, strict=True))
    assert 0 < right < len(asked)
    assert accuracies(chat, tmp_path) == {"sst2": 100 * right / len(asked)}
