"""EasyEdit's and KnowEdit's requests, whose prompts name the subject in words."""

from __future__ import annotations

import pytest
from fact_records import EXAMPLES, LYON, REQUEST, one

from editvc.core.facts import Fact


def test_easyedit():
    text = (EXAMPLES / "easyedit.json").read_text(encoding="utf-8")
    assert one(text) == Fact(
        subject="Egypt",
        prompt="The longest river of {} is the",
        target_new="Danube",
        target_true="Nile",
        paraphrases=("Egypt's longest river is called the",),
        locality=("The longest river of France is the",),
    )


def test_a_request_of_the_shared_keys_alone_is_told_by_its_prompt():
    assert one(REQUEST) == one(LYON)


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ("Paris", "Paris"),
        (["Paris", "Paname"], "Paris"),
        ([["Paris"], ["x"]], "Paris"),
        ("<|endoftext|>", None),
        (None, None),
        ([], None),
    ],
)
def test_easyedit_s_ground_truth_is_a_text_or_lists_of_equivalents(truth, expected):
    assert one(REQUEST | {"ground_truth": truth}).target_true == expected


@pytest.mark.parametrize(
    "locality",
    [
        {"neighborhood": {"prompt": "a", "ground_truth": "x"}, "other": {"prompt": ["b", "c"]}},
        {
            "Relation_Specificity": [
                {"prompt": "a", "ground_truth": [["x"]]},
                {"prompt": ["b", "c"]},
            ]
        },
    ],
)
def test_easyedit_s_and_knowedit_s_locality(locality):
    assert one(REQUEST | {"locality": locality}).locality == ("a", "b", "c")


def test_easyedit_s_flat_locality_and_list_of_rephrased_prompts():
    fact = one(REQUEST | {"locality_prompt": "a", "rephrase_prompt": ["b", "c"]})
    assert (fact.locality, fact.paraphrases) == (("a",), ("b", "c"))


@pytest.mark.parametrize(
    ("subject", "prompt", "expected"),
    [
        ("Paris", "In Paris, the mayor of Paris is", "In Paris, the mayor of {} is"),
        ("Paris", "Paris, as Parisians say, is", "{}, as Parisians say, is"),
        ("C++", "The author of C++ is", "The author of {} is"),
        ("東京", "日本の首都東京は", "日本の首都{}は"),
        ("a.c", "abc a.c", "abc {}"),
        ("France", "The capital of {} is", "The capital of {} is"),
    ],
)
def test_the_last_whole_mention_of_the_subject_becomes_the_placeholder(subject, prompt, expected):
    record = {"subject": subject, "prompt": prompt, "target_new": "x", "ground_truth": "y"}
    assert one(record).prompt == expected
