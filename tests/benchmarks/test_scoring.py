"""What a run asks, and the scores of a tiny model by counting one prompt at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmark_models import chat_model
from chat_scores import says
from real_data import Collection, Known, Record, naming, probes, subject_in, training_facts
from scoring import Scorer, share, spaced
from tiny_models import TEXT

from editvc.core.facts import Fact
from editvc.evaluation.probes import perplexity
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel

CITIES = ("Paris", "Rome", "London", "Zürich")


def known(subject: str, name: str, relation: str = "P36") -> Known:
    return Known(subject, relation, f"The capital of {subject} is", name)


def record(subject: str, near: tuple[Known, ...] = (), locality: tuple[str, ...] = ()) -> Record:
    fact = Fact(subject, "The capital of {} is", "Rome", "Paris", locality=locality)
    return Record(fact, "P36", near)


def collection(records: tuple[Record, ...], facts: tuple[Known, ...]) -> Collection:
    return Collection("tiny", records, facts, recalled=3, text=" ".join(TEXT * 40))


def test_prompts_that_name_an_edited_subject_are_left_out() -> None:
    prompts = ("Francesca is", "France is", "Old Italy is", "Peru is", "a", "b", "c", "d")
    near = tuple(known(name, "x") for name in ("Peru", "Italy", "Old France", *"abcdef"))
    records = (record("France", near, prompts), record("Italy"))
    asked = probes(collection(records, ()), records)
    assert asked.facts[0].locality == ("Francesca is", "Peru is", "a", "b", "c")
    assert [one.subject for _, one in asked.near] == ["Peru", *"abcd"]
    alone = probes(collection(records, ()), records[:1])
    assert alone.facts[0].locality == ("Francesca is", "Old Italy is", "Peru is", "a", "b")
    assert {one.fact.subject for one, _ in alone.near} == {"France"}


def test_recall_is_of_subjects_that_no_run_edits_and_the_same_beside_that() -> None:
    facts = tuple(known(name, "x") for name in "abcdefgh")
    records = tuple(record(name) for name in "abc")
    whole = collection(records, facts)
    one, three = (probes(whole, records[:count]).recall for count in (1, 3))
    assert len(one) == len(three) == 3
    assert not {"a", "b", "c"} & {fact.subject for fact in three}
    assert [fact for fact in one if fact.subject not in "abc"] == [*three][: len(one)][
        : sum(fact.subject not in "abc" for fact in one)
    ]
    assert one == probes(whole, records[:1]).recall


def test_same_are_other_facts_of_an_edited_subject() -> None:
    facts = (
        known("France", "French", "P37"),
        known("France", "Paris", "country_capital_city"),  # the edited fact by another name
        known("France", "Paris", "P36"),
        known("Italy", "Italian", "P37"),
    )
    records = (record("France"),)
    assert probes(collection(records, facts), records).same == facts[:1]


def test_names_are_whole_words() -> None:
    names = naming(["C++", "iOS 6"])
    assert [names(text) for text in ("C++ is", "iOS 6 is", "iOS 64 is", "a C++x")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert not naming([])("anything")


def test_the_subject_is_found_by_the_longest_wording_that_fits() -> None:
    wordings = ("{} is in", "{} is", "Where is {}? It is in")
    assert subject_in("Where is Rome? It is in", wordings) == "Rome"
    assert subject_in("Rome is in", wordings) == "Rome"
    assert subject_in("Rome was", wordings) == ""


def test_training_facts_are_asked_nowhere() -> None:
    names = [f"Land {letter}" for letter in "abcdefgh"]
    facts = tuple(known(name, city) for name, city in zip(names, CITIES * 2, strict=True))
    whole = collection((record(names[0]),), facts)
    recalled = {one.subject for one in probes(whole, whole.records).recall}
    found = training_facts(whole)
    assert {fact.subject for fact in found} == {*names[1:]} - recalled
    for fact in found:
        assert fact.question == f"The capital of {fact.subject} is"
        assert fact.target_new in CITIES and fact.target_new != fact.target_true


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """On facts that the model says, for what it says is made the fact."""
    lm = chat_model()

    def knows(subject: str, relation: str = "P36") -> Known:
        prompt = f"The capital of {subject} is"
        ids = lm.tokenizer(prompt, return_tensors="pt")["input_ids"]
        token = int(lm.model(input_ids=ids).logits[0, -1].argmax())
        return Known(subject, relation, prompt, lm.tokenizer.decode([token]).strip())

    near = tuple(knows(name) for name in ("Peru", "Chile", "Japan"))
    facts = tuple(knows(name) for name in ("Spain", "Egypt", "India", "Ghana"))
    same = (replace(knows("France"), relation="P37"),)
    records = (
        record("France", near, ("The capital of Peru is", "The capital of Chile is")),
        record("Italy", near[::-1], ("The capital of Japan is",)),
    )
    return Scorer(lm, collection(records, facts + same))


def test_the_base_keeps_all_that_it_knows(scorer: Scorer) -> None:
    row = scorer.of_edits(scorer.base, scorer.collection.records)
    assert row["spe"] == row["near"] == row["recall"] == row["same"] == 100
    text = scorer.collection.text
    assert scorer.of_text(scorer.base) == {"ppl": perplexity(scorer.base, text, blocks=100)}
    assert scorer.of_tasks(scorer.base) == {}


def test_another_model_is_scored_by_counting(scorer: Scorer) -> None:
    other = replace(scorer.base, model=chat_model().model)
    weight = other.weight(3)
    weight += 0.6 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    asked = probes(scorer.collection, scorer.collection.records)

    def keeps(fact: Known) -> bool:
        ids = other.tokenizer(fact.prompt, return_tensors="pt")["input_ids"]
        token = int(other.model(input_ids=ids).logits[0, -1].argmax())
        return other.tokenizer.decode([token]).strip() == fact.object

    row = scorer.of_edits(other, scorer.collection.records)
    near = [keeps(fact) for _, fact in asked.near]
    recall = [keeps(fact) for fact in asked.recall]
    assert row["near"] == share(near) and row["recall"] == share(recall)
    assert 0 < sum(near + recall) < len(near + recall)
    said = [generate(other, prompt, 1) for fact in asked.facts for prompt in fact.locality]
    before = [generate(scorer.base, prompt, 1) for f in asked.facts for prompt in f.locality]
    assert row["spe"] == share([one == two for one, two in zip(said, before, strict=True)])


def test_an_answer_in_the_chat_has_the_new_object_and_not_the_old(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"France": "Rome.", "Italy": "Rome, not Paris."}
    monkeypatch.setattr(
        "scoring.chat_answers",
        lambda _lm, asked: [answers.get(text.split()[-1][:-1], "Quito") for text in asked],
    )
    assert scorer.of_edits(scorer.base, scorer.collection.records)["chat"] == 50


def test_chat_near_asks_what_the_base_says_right(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peru and Chile of the first record, Japan and Chile of the second; Chile is not known."""
    near = tuple(known(name, name.upper()) for name in ("Peru", "Chile", "Japan"))
    records = (record("France", near), record("Italy", near[::-1]))
    fresh = Scorer(scorer.base, collection(records, ()))
    right = {"Peru", "Japan"}

    def answers(lm: LanguageModel, asked: list[str]) -> list[str]:
        names = [text.split()[-1][:-1] for text in asked]
        kept = right if lm is scorer.base else right - {"Japan"}
        return [
            f"It is x{name.upper()}" if name not in kept else f"{name.upper()}" for name in names
        ]

    monkeypatch.setattr("scoring.chat_answers", answers)
    monkeypatch.setattr("scoring.says", lambda answer, _subject, name: says(answer, "", name))
    assert fresh.of_edits(scorer.base, records)["chat_near"] == 100
    other = replace(scorer.base)
    assert fresh.of_edits(other, records)["chat_near"] == 50


def test_a_model_of_another_dtype_is_copied(scorer: Scorer) -> None:
    double = replace(scorer.base, model=chat_model().model.double())
    assert scorer.like_base(scorer.base) is scorer.base
    assert scorer.like_base(double).model.dtype == torch.float32
    assert double.model.dtype == torch.float64


def test_items_are_evenly_spaced() -> None:
    assert spaced(range(10), 3) == [0, 3, 6]
    assert spaced(range(3), 3) == [0, 1, 2]
    assert share([]) is None
