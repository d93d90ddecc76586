"""A task of lm-evaluation-harness, from a YAML file, on a model in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import lm_of

from editvc.evaluation.harness import NoSuchTask, run_task
from editvc.evaluation.probes import forced

pytest.importorskip("lm_eval")

ITEMS = [("The capital of France is", "Paris"), ("The capital of Italy is", "Rome"),
         ("Proust was born in", "Paris")]  # fmt: skip
CHOICES = ["Paris", "Rome"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    data = tmp_path / "capitals.jsonl"
    data.write_text(
        "".join(
            json.dumps({"question": q, "choices": CHOICES, "label": CHOICES.index(a)}) + "\n"
            for q, a in ITEMS
        )
    )
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "capitals.yaml").write_text(
        f"""
task: tiny_capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: label
doc_to_choice: choices
metric_list:
  - metric: acc
"""
    )
    return tasks


def test_a_local_task_has_the_accuracy_of_its_likelier_choice(gpt2, tokenizer, folder) -> None:
    lm = lm_of(gpt2, tokenizer)
    found = run_task(lm, "tiny_capitals", [folder], 10)
    right = 0
    for question, answer in ITEMS:
        sums = [
            forced(lm, [(question, choice)])[0].log_probability
            * len(tokenizer(f" {choice}", add_special_tokens=False)["input_ids"])
            for choice in CHOICES
        ]
        right += CHOICES[sums.index(max(sums))] == answer
    assert found["tiny_capitals"]["acc"] == pytest.approx(right / len(ITEMS))
    with pytest.raises(NoSuchTask):
        run_task(lm, "no_such_task_at_all", [folder], 1)
