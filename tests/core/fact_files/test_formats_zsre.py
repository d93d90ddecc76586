"""zsRE records, which have two answers to choose from."""

from __future__ import annotations

import json

import pytest
from fact_records import EXAMPLES, ZSRE, one, refused


def test_zsre_needs_the_user_s_choice():
    text = (EXAMPLES / "zsre.json").read_text(encoding="utf-8")
    answers, alt = one(text, target="answers"), one(text, target="alt")
    assert (answers.target_new, answers.target_true) == ("Warsaw", None)
    assert (alt.target_new, alt.target_true) == ("Prague", "Warsaw")
    assert answers.slot == alt.slot
    for fact in (answers, alt):
        assert fact.prompt == "In which city was {} born?"
        assert fact.paraphrases == ("What is the birthplace of Marie Curie?",)
        assert fact.locality == ("nq question: who wrote the music for the magic flute",)


@pytest.mark.parametrize("target", [None, "both"])
def test_zsre_without_a_choice_explains_both_and_shows_the_command_once(target):
    record = json.loads((EXAMPLES / "zsre.json").read_text(encoding="utf-8"))[0]
    error = refused([record] * 3, target=target)
    assert "ROME" in str(error) and "EasyEdit" in str(error)
    assert "editvc convert f --target answers" in error.hint
    assert "--target alt" in error.hint
    assert error.others == ()


def test_zsre_without_answers_cannot_teach_them():
    assert refused(ZSRE | {"answers": []}, target="answers").field == "answers"
    assert one(ZSRE | {"answers": []}, target="alt").target_true is None
