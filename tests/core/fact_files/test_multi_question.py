"""Multi-Question data: the paper's example to the letter, and what the seed decides."""

from __future__ import annotations

from collections import Counter

import pytest

from editvc.core.fact_files.multi_question import LETTERS, NoTriple, multi_question
from editvc.core.facts import Fact

EVENT = Fact(
    "PersonX accepts PersonY appointment",
    "{}, resulting in PersonY",
    "shakes PersonX hand",
    relation="oEffect",
    paraphrases=("PersonX takes the appointment, so PersonY",),
)
OTHERS = [
    Fact("PersonX cooks", "{}, wanting", "to give him a treat", relation="xWant"),
    Fact("PersonX says sorry", "{}, wanting PersonY", "to forgive him", relation="oWant"),
    Fact("PersonX marries", "{}, intending", "to live happily ever after", relation="xIntent"),
]
MANY = [
    Fact(f"subject {i}", f"{{}} has the relation {i % 5} to", f"object {i}", relation=str(i % 5))
    for i in range(60)
]


def test_the_papers_example() -> None:
    (direct, *_), (choice, *_) = (multi_question([EVENT, *OTHERS], form) for form in ("dg", "mq"))
    assert direct == EVENT
    assert choice.prompt.startswith(
        "{}, resulting in PersonY ? Below are four options: (a) "
    ) and choice.prompt.endswith(". The correct option is")
    at = choice.target_new
    assert f"({at}) shakes PersonX hand" in choice.prompt
    for other in OTHERS:
        assert other.target_new in choice.prompt
    assert choice.paraphrases[0].startswith("PersonX takes the appointment, so PersonY ? Below")


def test_a_sentence_is_logical_exactly_where_it_has_the_own_object() -> None:
    asked = multi_question(MANY, "tf")
    for fact, question in zip(MANY, asked, strict=True):
        sentence, _, rest = question.prompt.removeprefix(fact.prompt + " ").partition(" . ")
        assert rest == "Is this sentence logical? Please answer yes or no. A:"
        assert (question.target_new == "yes") == (sentence == fact.target_new)
        assert question.target_new in ("yes", "no")
    assert 20 <= Counter(one.target_new for one in asked)["yes"] <= 40


def test_letters_are_spread_and_distractors_are_of_other_relations() -> None:
    relation = {fact.target_new: fact.relation for fact in MANY}
    asked = multi_question(MANY, "mq")
    for fact, question in zip(MANY, asked, strict=True):
        options = question.prompt.partition("options: ")[2].partition(". The correct")[0]
        texts = [part[4:] for part in options.split("; ")]
        assert texts[LETTERS.index(question.target_new)] == fact.target_new
        wrong = [text for text in texts if text != fact.target_new]
        assert len({*wrong}) == 3
        assert fact.relation not in {relation[text] for text in wrong}
    assert {one.target_new for one in asked} == {*LETTERS}


@pytest.mark.parametrize("form", ["mq", "tf"])
def test_a_question_depends_on_seed_and_fact_and_not_on_the_order(form: str) -> None:
    asked = multi_question(MANY, form, 3)
    assert multi_question(MANY[::-1], form, 3)[::-1] == asked
    assert multi_question(MANY, form, 4) != asked


def test_another_object_of_the_same_subject_is_no_wrong_answer() -> None:
    twin = Fact(EVENT.subject, "{}, so that", "the day is saved", relation="xEffect")
    for seed in range(20):
        (question, *_) = multi_question([EVENT, twin, *OTHERS], "mq", seed)
        assert "the day is saved" not in question.prompt


def test_the_three_forms_of_a_fact_are_about_three_slots() -> None:
    facts = [EVENT, *OTHERS]
    assert len({multi_question(facts, form)[0].slot for form in ("dg", "mq", "tf")}) == 3


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(NoTriple, match="there are 2") as caught:
        multi_question([EVENT, *OTHERS[:2]], "mq")
    assert "more relations" in caught.value.hint
    with pytest.raises(NoTriple, match="has no relation"):
        multi_question([Fact("France", "The capital of {} is", "Lyon"), *OTHERS], "tf")
