"""MQuAKE records: several edits in one."""

from __future__ import annotations

import json

import pytest
from fact_records import EXAMPLES, LYON, one, read, refused

from editvc.core.facts import Fact, FactError


def test_mquake_gives_one_fact_an_edit():
    text = (EXAMPLES / "mquake.json").read_text(encoding="utf-8")
    first, second = read(text)
    assert first.fact == Fact(
        subject="Frankenstein",
        prompt="The author of {} is",
        target_new="Jane Austen",
        target_true="Mary Shelley",
        relation="P50",
        paraphrases=("Who wrote Frankenstein?",),
    )
    assert second.fact.subject == "Jane Austen"
    hop = "Of which country is the author of Frankenstein a citizen?"
    assert (second.fact.hops, second.fact.hop_answers) == ((hop,), ("Norway",))
    assert (first.line, first.record) == (second.line, second.record) == (2, 1)


def test_hops_without_an_answer_are_not_read():
    (record,) = json.loads((EXAMPLES / "mquake.json").read_text(encoding="utf-8"))
    del record["new_answer"]
    assert not any(one.fact.hops for one in read(record))


def test_each_hop_has_an_answer():
    hops = {"hops": ["The capital of the land of Lyon is"], "hop_answers": ["Paris"]}
    assert one(LYON | hops).hop_answers == ("Paris",)
    assert one(LYON | hops).id != one(LYON).id
    error = refused(LYON | hops | {"hop_answers": []})
    assert "as many as the prompts" in str(error)
    with pytest.raises(FactError, match="as many"):
        Fact("France", "The capital of {} is", "Lyon", hops=("x",))
