"""Facts: what is refused, what is equal, what a slot is, and the pinned bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from core_strategies import facts, phrases
from hypothesis import assume, given, settings

from editvc.core.facts import Fact, FactError
from editvc.core.ids import canonical_json

FRANCE = Fact(subject="France", prompt="The capital of {} is", target_new="Lyon")


@settings(max_examples=150)
@given(facts)
def test_json_round_trip(fact):
    record = json.loads(canonical_json(fact.to_json()))
    assert Fact.from_json(record) == fact
    assert Fact.from_json(record).id == fact.id


@settings(max_examples=100)
@given(facts, facts)
def test_ids_are_equal_exactly_when_facts_are(one, other):
    assert (one.id == other.id) == (one == other)


def test_the_canonical_form_leaves_defaults_out_and_is_pinned():
    assert canonical_json(FRANCE.to_json()) == (
        b'{"kind":"fact","prompt":"The capital of {} is","subject":"France","target_new":"Lyon"}'
    )
    assert FRANCE.id == "1ec701b9761b03034d74ad825a872d43e68081c0f52ec8705ecefef9b261c490"
    assert FRANCE.slot == "defa8ffcc8fde904751a9c98a48087e449e880d7d5c76583d0cd7a3f7d013d46"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": " \t"}, "subject"),
        ({"prompt": "The capital of France is"}, "prompt"),
        ({"prompt": "{} and {}"}, "prompt"),
        ({"target_new": "\n"}, "target_new"),
        ({"valid_until": "2027-02-30"}, "valid_until"),
        ({"valid_until": "20271231"}, "valid_until"),
        ({"valid_until": "next year"}, "valid_until"),
    ],
)
def test_an_unusable_fact_names_its_field_and_the_way_out(change, field):
    with pytest.raises(FactError) as caught:
        replace(FRANCE, **change)
    assert caught.value.field == field
    assert f"'{field}'" in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 1


@settings(max_examples=60)
@given(facts, phrases)
def test_a_slot_is_subject_and_relation_or_prompt_and_nothing_else(fact, other):
    same = replace(fact, target_new=other, paraphrases=(other,), tags=(other,), source=other)
    assert same.slot == fact.slot
    assert replace(fact, subject=f" {fact.subject} ").slot == fact.slot
    assert replace(fact, subject=f"{fact.subject} II").slot != fact.slot
    moved = replace(fact, prompt="Somewhere else {} is")
    assume(fact.prompt != moved.prompt)
    assert (moved.slot == fact.slot) == (fact.relation is not None)


def test_case_does_not_make_another_slot():
    assert replace(FRANCE, subject="FRANCE", prompt="the capital of {}  is").slot == FRANCE.slot


@settings(max_examples=60)
@given(facts)
def test_the_question_has_the_subject_in_place(fact):
    before, after = fact.prompt.split("{}")
    assert fact.question == before + fact.subject + after
    assert fact.request.parts == (fact.subject, fact.prompt, fact.target_new)


@pytest.mark.parametrize(("today", "expired"), [("2027-12-31", False), ("2028-01-01", True)])
def test_a_fact_holds_to_the_end_of_its_last_day(today, expired):
    assert replace(FRANCE, valid_until="2027-12-31").expired(date.fromisoformat(today)) == expired
    assert not FRANCE.expired(date.max)


def test_a_day_is_a_part_of_the_id_where_it_is_set_only():
    assert "valid_until" not in FRANCE.to_json()
    dated = replace(FRANCE, valid_until="2027-12-31")
    assert dated.id != FRANCE.id and dated.slot == FRANCE.slot and dated.request == FRANCE.request
    assert Fact.from_json(dated.to_json()) == dated
