"""CounterFact records, as published and as converted from zsRE."""

from __future__ import annotations

from fact_records import EXAMPLES, one

from editvc.core.fact_files.reader import read_facts
from editvc.core.facts import Fact


def test_counterfact():
    text = (EXAMPLES / "counterfact.json").read_text(encoding="utf-8")
    assert one(text) == Fact(
        subject="France",
        prompt="The official language of {} is",
        target_new="Danish",
        target_true="French",
        relation="P37",
        paraphrases=("The laws of France are written in",),
        locality=("The official language of Haiti is",),
    )


def test_counterfact_converted_from_zsre_as_rome_s_loader_does():
    rewrite = {
        "prompt": "Who wrote {}?",
        "subject": "Emma",
        "target_new": {"str": "Jane Austen"},
        "target_true": {"str": "<|endoftext|>"},
    }
    neighbours = [{"prompt": "nq question: a?", "target": "b"}]
    fact = one({"requested_rewrite": rewrite, "neighborhood_prompts": neighbours})
    assert fact.target_true is None
    assert fact.locality == ("nq question: a?",)


def test_the_reference_records(shared):
    path = shared / "data" / "records-dev.jsonl"
    found = read_facts([(path.name, path.read_text(encoding="utf-8"))])
    assert len(found) == 2500
    assert [item.line for item in found] == list(range(1, 2501))
    assert not any(item.duplicate_of for item in found)
