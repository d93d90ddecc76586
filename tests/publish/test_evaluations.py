"""Kept results in the metadata of a card, as the Hub reads them."""

from __future__ import annotations

import math
from dataclasses import replace

from huggingface_hub import ModelCard
from test_card import CARD

from editvc.publish.card import render_card
from editvc.publish.evaluations import Measured, eval_results

FACTS = Measured("edits", "a" * 64, {"generated": 98.0, "ns": 97.512345, "spe": math.nan})
TASKS = Measured("abilities", "b" * 64, {"sst2 accuracy": 79.0, "sst2 f1": 78.5})
WRITING = Measured("generation", "c" * 64, {"base fluency": 5.1})


def read(*measured: Measured) -> dict[tuple[str, str], dict[str, float]]:
    """What huggingface_hub makes of a card: figures by dataset and its revision."""
    card = ModelCard(render_card(replace(CARD, evaluations=eval_results(measured))))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for one in card.data.eval_results or ():
        where = (one.dataset_type, one.dataset_revision)
        found.setdefault(where, {})[one.metric_type] = one.metric_value
    return found


def test_the_hub_reads_every_figure_of_facts_and_tasks() -> None:
    assert read(FACTS, TASKS, WRITING) == {
        ("editvc-facts", "a" * 64): {"generated": 98.0, "ns": 97.5123},
        ("sst2", "b" * 64): {"accuracy": 79.0, "f1": 78.5},
    }


def test_two_sets_of_facts_stay_apart() -> None:
    other = replace(FACTS, data="d" * 64, figures={"generated": 50.0})
    assert read(FACTS, other)["editvc-facts", "d" * 64] == {"generated": 50.0}
    assert read(FACTS, other)["editvc-facts", "a" * 64]["generated"] == 98.0


def test_a_task_of_the_harness_is_named_by_itself() -> None:
    task = Measured("lm-eval:arc_easy", "e" * 64, {"arc_easy acc,none": 41.25})
    assert read(task) == {("arc_easy", "e" * 64): {"acc,none": 41.25}}


def test_a_person_reads_them_too_and_nothing_where_nothing_was_measured() -> None:
    card = render_card(replace(CARD, evaluations=eval_results([FACTS, TASKS])))
    assert "| facts asked of this model | edited facts that greedy generation says | 98 |" in card
    assert "| sst2 | accuracy | 79 |" in card
    assert "## Evaluation" not in render_card(CARD)
    assert "model-index" not in render_card(CARD)
