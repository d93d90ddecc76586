"""editvc's own schema."""

from __future__ import annotations

from fact_records import LYON, one


def test_editvc_s_own_schema_with_every_field():
    record = LYON | {
        "target_true": "Paris",
        "relation": "capital",
        "paraphrases": ["France has its capital in"],
        "locality": ["The capital of Italy is"],
        "tags": ["test"],
        "source": "a test",
    }
    assert one(record).to_json() == {"kind": "fact"} | record


def test_the_space_around_texts_does_not_count():
    assert one(
        {"subject": " France", "prompt": "The capital of {} is ", "target_new": " Lyon"}
    ) == (one(LYON))
