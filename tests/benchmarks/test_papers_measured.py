"""What the parts measure, on a tiny random model: numbers that definitions give."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from experiments import codebooks, damage, sequences, single, updates
from real_data import Collection, Known, Record
from tiny_models import TEXT
from tiny_repos import FACTS, FRESH, Prepared, opened

from editvc.core.facts import Fact
from editvc.evaluation import essays
from editvc.evaluation.ability_tasks import CHOICES
from editvc.materialise.make_elements import make_in_sequence

RELATIONS = ("capital", "capital", "birth", "language", "country", "country", "language", "work")


class TinyBench:
    """A repository of the tiny model in the place of :class:`experiments.bench.Bench`."""

    model = "atlas"

    def __init__(self, repo: Any, text: str) -> None:
        self.repo, self.lm = repo, repo.session.base_model()
        records = [
            Record(fact, relation, ())
            for fact, relation in zip((*FACTS, *FRESH), RELATIONS, strict=True)
        ]
        known: tuple[Known, ...] = ()
        self.collection = Collection("tiny", tuple(records), known, recalled=0, text=text)

    def facts(self, count: int, seed: int = 0) -> list[Fact]:
        return [one.fact for one in self.collection.records][:count]

    def recipe(self, method: str, options: Sequence[str]) -> Any:
        options = [*options, *(["mom2_update_weight=50"] if method in ("memit", "d4s") else [])]
        return self.repo.choose(method, options=options).recipe


@pytest.fixture(autouse=True)
def short_essays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(essays, "NEW_TOKENS", 6)


@pytest.fixture(scope="module")
def bench(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBench]:
    folder = tmp_path_factory.mktemp("bench")
    shutil.copytree(prepared.work / ".editvc", folder / ".editvc")
    yield TinyBench(opened(folder), " ".join(TEXT * 40))
    shutil.rmtree(folder)


def test_single_edits_are_those_of_a_sequence_of_one(bench: TinyBench) -> None:
    found = single.single_edits(bench, {"method": "memit", "options": ["preset=paper"], "edits": 2})
    recipe, materialiser = bench.recipe("memit", ["preset=paper"]), bench.repo.session.materialiser
    for number, fact in enumerate(bench.facts(2)):
        (patch,) = make_in_sequence(materialiser, bench.lm, [fact.request], recipe, None)
        assert found["change"][number] == pytest.approx(patch.delta.norm(), rel=1e-4)
    assert found["denominator"] == found["leverage"], "keys that are symmetric"
    assert len(found["objective"]) == len(found["perplexity"]) == 2


def test_published_keys_divide_by_what_the_bare_prompt_gives(bench: TinyBench) -> None:
    setting = {"method": "rome", "options": ["form=published"], "edits": 2}
    found = single.single_edits(bench, setting)
    for change, residual, direction, denominator in zip(
        *(found[name] for name in ("change", "residual", "direction", "denominator")), strict=True
    ):
        assert change == pytest.approx(residual * direction / abs(denominator), rel=1e-3)


def test_a_kind_of_question_has_objectives_and_lengths(bench: TinyBench) -> None:
    found = single.objective_kinds(bench, {"edits": 8})
    assert {*found} == {"dg", "mq", "tf"}
    assert found["dg"]["input_tokens"] < found["mq"]["input_tokens"]
    assert all(one >= 1 for kind in found.values() for one in kind["perplexities"])


def test_cosines_of_updates_are_one_on_the_diagonal(bench: TinyBench) -> None:
    found = updates.similarity(bench, {"edits": 3})["cosines"]
    for change in updates.CHANGES:
        square = torch.tensor(found[change])
        assert torch.allclose(square.diagonal(), torch.ones(3)) and torch.equal(square, square.T)
    assert found["none"] != found["top:20"] != found["drop:0.8"]


def test_all_entries_of_an_update_are_the_batch_itself(bench: TinyBench) -> None:
    kept = updates.retained(bench, {"edits": 3})["kept"]
    whole = updates.forms(bench, {"method": "memit", "options": ["preset=paper"], "edits": 3})
    assert [one["percent"] for one in kept] == [*updates.KEPT]
    assert {name: whole[name] for name in ("eff", "par")} == {
        name: kept[-1][name] for name in ("eff", "par")
    }
    assert whole["base_fluency"] > 0 and whole["intervals"]["eff"] is not None


def test_sums_solved_together_and_alone(bench: TinyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "SPACED", 1)
    points = updates.sums(bench, {"edits": 3})["sums"]
    assert [one["edits"] for one in points] == [1, 2, 3]
    assert points[0]["together"] == pytest.approx(points[0]["alone"], rel=1e-6)
    assert len({one["bytes"] for one in points}) == 1


def test_the_end_of_a_sequence_of_sums_is_one_batch(bench: TinyBench) -> None:
    setting = {"method": "d4s", "options": ["preset=paper"], "edits": 3}
    found, batch = sequences.of_sums(bench, setting), updates.forms(bench, setting)
    assert found["eff"] == batch["eff"] and found["change"] > 0


def test_codebook_entries_say_their_facts(bench: TinyBench) -> None:
    found = codebooks.codebook(bench, {"layer": 1, "eps": 0.01, "edits": 2})
    assert found["perplexity"] == pytest.approx(found["base_perplexity"], rel=0.05)
    assert found["eff"] >= 50


def test_a_sequence_is_told_by_edits_and_checkpoints(
    bench: TinyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "wiki.txt"
    text.write_text(bench.collection.text, encoding="utf-8")
    monkeypatch.setattr(sequences, "TEXT", text)
    setting = {"method": "memit", "options": ["preset=paper"], "edits": 3, "batch": 1,
               "rule": "sum", "seed": 0}  # fmt: skip
    found = sequences.sequence(bench, setting)
    assert found["ends"] == [1, 2, 3] == [one["edits"] for one in found["checkpoints"]]
    assert len(found["windows"]["es"]["50"]) == len(found["log_probability"]) == 3
    assert all(one["perplexity"] > 1 for one in found["checkpoints"])
    assert found["base_norms"].keys() == found["l1"].keys()


def test_values_under_no_restraint_at_work_are_those_at_the_end(bench: TinyBench) -> None:
    setting = {"method": "rome", "options": ["form=published"], "edits": 3, "first": 2}
    found = damage.values(bench, setting)
    assert [len(found[name]) for name in ("current", "editing", "pruned")] == [2, 2, 2]
    assert found["drift"] >= 0 and 0 < found["explained"] <= 1 + 1e-9


def test_answers_are_judged_by_the_model_that_is_given(
    bench: TinyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "read_items", lambda _path: [{"question": "Where is Rome?"}])
    answers = damage._answers(bench.lm)
    assert [len(answer) for _, answer in answers] == [damage.ANSWER]
    judged = SimpleNamespace(**damage._judged(bench.lm, answers))
    assert judged.adjusted_perplexity >= judged.answer_perplexity > 1
    assert 0 <= judged.repetition <= 1


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    items = [{"sentence": f"{word} film", "label": n % 2} for n, word in enumerate("abcdefghijkl")]
    asked = [{"question": "Where is Rome?", "answers": ["Italy"]}]
    for name, rows in (("sst2", items), ("natural_questions", asked)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    short = replace(
        CHOICES["sst2"], shots=2, choices=(" Rome", " Paris"), text=lambda item: item["sentence"]
    )
    monkeypatch.setitem(CHOICES, "sst2", short)  # the tiny model has few positions
    monkeypatch.setattr(damage, "TASKS", tmp_path)
    monkeypatch.setattr(damage, "BLOCKS", 2)
    return tmp_path


@pytest.mark.usefixtures("tasks")
def test_a_layer_is_asked_for_all_before_any_edit_and_at_checkpoints(bench: TinyBench) -> None:
    setting = {"method": "rome", "options": ["form=published"], "edits": 1}
    found = damage.by_layer(bench, setting)
    before, after = found["checkpoints"]
    assert (before["edits"], after["edits"]) == (0, 1) and before["eff"] is None
    assert len(before["saliency"]) == found["depth"] == len(after["saliency"])
    assert before["temperature"][0] == before["sst2"], "at temperature 0 the likelier label"
    assert before["perplexity"] != after["perplexity"]
    again = {"edits": 0, **damage._damage(bench, bench.lm, [])}
    assert again.items() <= before.items(), "the model is unedited again"


@pytest.mark.usefixtures("tasks")
def test_the_base_is_asked_beside_chance(bench: TinyBench) -> None:
    found = damage.abilities_of_base(bench, {"task": "sst2", "items": 4})
    assert found["chance"] == 50 and found["asked"] == 4
    layers = damage.saliency_of_base(bench, {"items": 2})["layers"]
    assert all(sum(one.values()) == pytest.approx(1) for one in layers)


def test_questions_of_a_kind_are_edited_and_measured(
    bench: TinyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "recipe", lambda *_: bench.repo.choose("rome").recipe)
    found = single.kinds(bench, {"kind": "tf", "edits": 8})
    assert {len(values) for values in found.values()} == {8}
    assert all(math.isfinite(one) for one in found["damage"])


def test_edits_of_questions_are_asked_for_as_sentences(
    bench: TinyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "questions.toml"
    file.write_text('capital = "What is the capital of {}?"', encoding="utf-8")
    monkeypatch.setattr(single, "QUESTIONS", file)
    found = single.wording(bench, {"method": "rome", "options": [], "edits": 9})
    assert [len(found[name]) for name in found] == [2, 2, 2], "two facts have such a question"
