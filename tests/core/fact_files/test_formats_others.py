"""FastEdit, UltraEditBench, and the files of KnowEdit and MultiCounterFact, by their keys."""

from __future__ import annotations

import pytest
from fact_records import EXAMPLES, LYON, one, refused

from editvc.core.facts import Fact

FAST = {"prompt": "The capital of {} is", "subject": "France", "target": "Lyon", "queries": ["q"]}
ULTRA = {
    "prompt": "Where is France?",
    "subject": "France",
    "ans": "Asia",
    "rephrase_prompt": "In what place is France?",
    "loc": "Where is Peru?",
    "loc_ans": "America",
}


def test_the_example_files():
    assert one((EXAMPLES / "fastedit.json").read_text(encoding="utf-8")) == Fact(
        subject="Norway",
        prompt="The prime minister of {} is",
        target_new="Astrid Berg",
        paraphrases=("Who governs Norway? It is",),
    )
    assert one((EXAMPLES / "ultraeditbench.json").read_text(encoding="utf-8")) == Fact(
        subject="The Swan of Tuonela",
        prompt="Who composed {}?",
        target_new="Edvard Grieg",
        paraphrases=("Whose work is The Swan of Tuonela?",),
        locality=("Who composed Peer Gynt?",),
    )


def test_fastedit_s_queries_may_be_missing():
    assert one({key: FAST[key] for key in ("prompt", "subject", "target")}) == one(LYON)


@pytest.mark.parametrize("key", ["target", "queries"])
def test_fastedit_s_keys_beside_target_new_are_mistakes(key):
    assert refused(LYON | {key: "Paris"}).field == key


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (FAST | {"tags": ["x"]}, "tags"),
        ({key: FAST[key] for key in ("prompt", "subject", "queries")}, "target"),
        (FAST | {"queries": "x"}, "queries"),
        ({key: value for key, value in ULTRA.items() if key != "ans"}, "ans"),
        (ULTRA | {"prompt": "Where?"}, "prompt"),
    ],
)
def test_their_refusals_name_the_key(record, field):
    assert refused(record).field == field


def test_knowedit_s_three_files():
    hop = {"prompt": "The mayor of the capital of France is", "ground_truth": [["A", "B"], ["C"]]}
    near = {"prompt": "The currency of France is", "ground_truth": [["euro"]]}
    record = {
        "subject": "France",
        "prompt": "The capital of France is",
        "target_new": "Lyon",
        "portability": {"Reasoning": [hop], "Subject_Aliasing": [hop]},
        "locality": {"Relation_Specificity": [near], "Forgetfulness": [near | {"prompt": "f"}]},
    }
    recent = one(record)
    assert (recent.target_true, recent.locality) == (None, ("The currency of France is", "f"))
    assert one(record | {"ground_truth": "Paris"}).target_true == "Paris"
    zsre = {"ground_truth": ["Paris"], "rephrase_prompt": "r", "cond": "a >> b || c"}
    fact = one(record | zsre)
    assert (fact.target_true, fact.paraphrases) == ("Paris", ("r",))
    assert recent.prompt == fact.prompt == "The capital of {} is"


def test_knowedit_s_wikibio_is_refused():
    bio = {"text": "about x", "labels": "y", "concept": "x", "locality": {}}
    assert refused(bio).field == "subject"
