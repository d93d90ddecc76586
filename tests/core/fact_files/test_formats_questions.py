"""Free questions: the subject written, proposed, asked for, or missing."""

from __future__ import annotations

import pytest
from core_strategies import facts
from fact_records import read, refused
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.fact_files.reader import examined, only_candidate
from editvc.core.fact_files.subject_candidates import candidates
from editvc.core.facts import Fact

APPLE = {"question": "Who is the CEO of Apple?", "answer": "Ada Lovelace"}
TWO = {"question": "Did Ada Lovelace know Charles Babbage?", "answer": "no"}
FACT = Fact("Apple", "Who is the CEO of {}?", "Ada Lovelace")


def test_a_question_with_its_subject():
    (found,) = read(APPLE | {"subject": "Apple", "tags": ["t"], "locality": ["Who?"]})
    assert found.fact == Fact(
        "Apple", "Who is the CEO of {}?", "Ada Lovelace", tags=("t",), locality=("Who?",)
    )
    renamed = {"question": APPLE["question"], "target_new": "Ada Lovelace", "subject": "Apple"}
    assert read(renamed)[0].fact == FACT


def test_the_subject_may_be_marked_in_the_question():
    (found,) = read({"question": "Is Rome {}?", "subject": "Rome", "answer": "no"})
    assert found.fact.prompt == "Is Rome {}?"


def test_a_missing_subject_is_proposed_and_taken_only_on_a_word():
    error = refused(APPLE)
    assert (error.field, error.others) == ("subject", ())
    assert "'Apple'" in error.problem and "--confirm-subjects" in error.hint
    assert read(APPLE, subject=only_candidate)[0].fact == FACT
    assert read(APPLE | {"subject": None}, subject=only_candidate)[0].fact == FACT


def test_several_candidates_are_named_and_none_is_taken():
    error = refused(TWO, subject=only_candidate)
    assert "'Charles Babbage', 'Ada Lovelace'" in error.problem
    assert "--confirm-subjects" not in error.hint


def test_whoever_chooses_sees_the_question_and_the_candidates():
    seen = []

    def choose(question, found):
        seen.append((question, found))
        return "Ada Lovelace"

    (found,) = read(TWO, subject=choose)
    assert found.fact.prompt == "Did {} know Charles Babbage?"
    assert seen == [(TWO["question"], ("Charles Babbage", "Ada Lovelace"))]


def test_a_subject_that_is_not_in_the_question_is_refused():
    assert refused(APPLE | {"subject": "Pear"}).field == "question"
    assert refused(APPLE, subject=lambda question, found: "Pear").field == "question"


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"answer": ""}, ["subject", "answer"]),
        ({"question": ""}, ["question"]),
        ({"question": 3, "subject": 3}, ["subject", "question"]),
        ({"prompt": "x", "subject": "Apple"}, ["prompt"]),
        ({"target_new": "x", "subject": "Apple"}, ["answer"]),
        ({"subject": "Apple", "anser": "x"}, ["anser"]),
    ],
)
def test_what_is_wrong_in_a_question(change, fields):
    error = refused(APPLE | change)
    assert [each.field for each in (error, *error.others)] == fields


@pytest.mark.parametrize("answer", ["answer", "target_new"])
@pytest.mark.parametrize("subject", ["", "Apple"])
def test_csv_with_a_question_column(answer, subject):
    text = f"question,{answer},subject,tags\nWho is the CEO of Apple?,Ada Lovelace,{subject},a|b\n"
    (found,) = read(text, subject=only_candidate)
    assert found.fact == Fact(*FACT.request.parts, tags=("a", "b"))
    assert read(text.replace(",subject", ",source"), subject=only_candidate)


def test_csv_of_questions_needs_an_answer_column():
    (error,) = examined([("f.csv", "question,subject\nWho?,x")]).problems
    assert (error.field, error.line) == ("target_new", 1)
    assert "prompt" in examined([("f.csv", "question,answer,prompt\nWho?,x,y")]).problems[0].field


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Who is the CEO of Apple?", ["Apple"]),
        ("In which city was Marie Curie born?", ["Marie Curie"]),
        ('Who wrote "Pride and Prejudice"?', ["Pride and Prejudice"]),
        ("What is “iron” in Latin?", ["Latin", "iron"]),
        ("Who wrote The Lord of the Rings?", ["The Lord of the Rings", "The Lord", "Rings"]),
        ("Where does Leonardo da Vinci's uncle live?", ["Leonardo da Vinci"]),
        ("Who commanded Apollo 11 in 1969?", ["Apollo 11"]),
        ("Apple is led by whom?", ["Apple"]),
        ("The Beatles came from where?", ["The Beatles"]),
        ("The capital of Peru is?", ["Peru"]),
        ("Qui est le PDG d'Apple ?", ["Apple"]),
        ("¿Quién fundó Lima?", ["Lima"]),
        ("Wie heißt der Präsident von Peru?", ["Präsident von Peru", "Präsident", "Peru"]),
        ("Кто написал «Войну и мир»?", ["Войну и мир"]),
        ("「羅生門」を書いたのは誰ですか？", ["羅生門"]),
        ("苹果的CEO是谁？", []),
        ("What is it?", []),
        ("???", []),
    ],
)
def test_candidates(question, found):
    assert list(candidates(question)) == found


@given(st.text())
def test_candidates_stand_in_the_question(text):
    found = candidates(text)
    assert all(each and each in text for each in found)
    assert len(set(found)) == len(found)


@given(facts)
def test_a_quoted_subject_is_found(fact):
    if '"' not in fact.question:
        quoted = fact.prompt.replace("{}", f'"{fact.subject}"')
        assert fact.subject in candidates(quoted)


def test_one_question_alone_is_a_record_whatever_list_it_holds():
    (found,) = read(APPLE | {"paraphrases": ["Apple is led by"]}, subject=only_candidate)
    assert found.fact.paraphrases == ("Apple is led by",)
