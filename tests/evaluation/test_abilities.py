"""Tasks: what counts as right, by hand and against the packages that define it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import lm_of

from editvc.evaluation.abilities import TaskFileError, abilities, chosen, known, macro_f1
from editvc.evaluation.ability_tasks import (
    CHOICES,
    WRITING,
    RougeMissing,
    exact_match,
    last_number,
    normalised_answer,
    rouge,
    same_number,
)
from editvc.evaluation.bootstrap import mean_interval
from editvc.evaluation.few_shot import balanced, choose, solved, split

SST2 = [{"sentence": f"The old town {number}", "label": number % 2} for number in range(40)]


def test_macro_f1_by_hand_and_against_scikit_learn() -> None:
    assert macro_f1([0, 0, 1, 1], [0, 1, 1, 1], 2) == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    metrics = pytest.importorskip("sklearn.metrics")
    chance = random.Random(0)
    labels, picked = ([chance.randrange(4) for _ in range(50)] for _ in range(2))
    expected = metrics.f1_score(labels, picked, labels=range(4), average="macro", zero_division=0)
    assert macro_f1(labels, picked, 4) == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5 * 3 = 15\n#### 1,500", "1500"), ("so 3 and then 4.50", "4.5"), ("none", None),
     ("#### -7 or 8", "-7"), ("10.0", "10"), ("100", "100"), ("It costs $2,000.", "2000")],
)  # fmt: skip
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_a_solution_that_comes_to_nothing_is_not_right() -> None:
    assert same_number("I think it is 18.", {"answer": "9 * 2\n#### 18"}) == {"exact": 1.0}
    assert same_number("who knows", {"answer": "#### 18"}) == {"exact": 0.0}


def test_answers_of_natural_questions() -> None:
    item = {"answers": ["The World War II", "1945"]}
    assert normalised_answer("The  World-War II!") == "worldwar ii"
    assert exact_match("World War II.\nQuestion: what", item) == {"exact": 1.0, "contains": 1.0}
    assert exact_match("in 1945, I think", item) == {"exact": 0.0, "contains": 1.0}
    assert exact_match("19455", item) == {"exact": 0.0, "contains": 0.0}


def test_rouge_by_hand() -> None:
    pytest.importorskip("rouge_score")
    found = rouge("the cat sat", {"summary": "the cat ran home"})
    r1, r2 = 2 * 2 / (3 + 4), 2 * 1 / (2 + 3)
    assert found == pytest.approx(
        {"rouge": (r1 + r2 + r1) / 3, "rouge1": r1, "rouge2": r2, "rougeL": r1}
    )


def test_without_rouge_score_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(RougeMissing, match="not installed") as error:
        rouge("x", {"summary": "y"})
    assert "editvc[eval]" in error.value.hint


def test_solved_items_are_balanced_and_never_asked() -> None:
    for name, task in CHOICES.items():
        items = [{"label": n % 2, "answer": n % 4, "answers": "ABCD"[n % 4], "n": n,
                  "sentence": "s", "sentence1": "a", "sentence2": "b", "question": "q",
                  "article": "t",
                  "choices": list("wxyz"), "options": list("wxyz")} for n in range(40)]  # fmt: skip
        shots, rest = split(items, task, len(items))
        assert len(shots) == task.shots and len(rest) == 40 - task.shots, name
        assert not [item for item in rest if item in shots]
        counts = np.bincount([task.label(item) for item in shots], minlength=len(task.choices))
        assert counts.max() - counts.min() <= 1
        asked = balanced(rest, task, 8)
        assert {*np.bincount([task.label(item) for item in asked])} == {8 // len(task.choices)}
        assert solved(shots[:1], task).endswith(f"{task.choices[task.label(shots[0])]}\n\n")


def test_choices_are_scored_and_counted(gpt2, tokenizer) -> None:
    lm, task = lm_of(gpt2, tokenizer), CHOICES["sst2"]
    with pytest.raises(ValueError, match="same token"):
        choose(lm, "The ", ["France"], (" n", " n"))
    found = chosen(lm, task, SST2, 10)
    if found["asked"]:
        assert found["asked"] == 10 and 0 <= found["accuracy"] <= 100 and found["chance"] == 50
    lm.model.config.max_position_embeddings, before = 8, lm.model.config.max_position_embeddings
    try:
        assert chosen(lm, task, SST2, 10)["asked"] == 0
    finally:
        lm.model.config.max_position_embeddings = before


def test_files_of_tasks(gpt2, tokenizer, tmp_path: Path) -> None:
    lm = lm_of(gpt2, tokenizer)
    text = tmp_path / "wiki.txt"
    text.write_text("The capital of France is Paris. " * 60, encoding="utf-8")
    assert known(text) and known(tmp_path / "sst2.jsonl") and not known(tmp_path / "x.jsonl")
    assert abilities(lm, [text], 2)["perplexity wiki"]["value"] > 1
    for nothing in (b"", b"\xff\xfe"):
        text.write_bytes(nothing)
        with pytest.raises(TaskFileError, match=r"wiki\.txt: is no text to ask"):
            abilities(lm, [text], 2)
    broken = tmp_path / "gsm8k.jsonl"
    broken.write_text(json.dumps({"q": 1}) + "\n" + json.dumps({"q": 2}) + "\n" * 5)
    with pytest.raises(TaskFileError, match="no file of this task"):
        abilities(lm, [broken], 2)


def test_writing_tasks_show_their_answers() -> None:
    item = {"question": "how many?", "answers": ["six"], "answer": "#### 6", "dialogue": "A: hi",
            "summary": "A greets."}  # fmt: skip
    for task in WRITING.values():
        assert task.text(item).endswith(":") and task.answer(item).startswith(" ")


def test_the_interval_of_a_mean() -> None:
    assert mean_interval(np.array([5.0, 5.0])) == (5.0, 5.0)
    low, high = mean_interval(np.arange(100.0)) or (0, 0)
    error = np.arange(100.0).std() / 10
    assert (low, high) == pytest.approx((49.5 - 1.96 * error, 49.5 + 1.96 * error), abs=0.6)
