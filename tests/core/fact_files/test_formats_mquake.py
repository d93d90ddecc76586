"""MQuAKE records: several edits in one."""

from __future__ import annotations

from fact_records import EXAMPLES, read

from editvc.core.facts import Fact


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
    assert (first.line, first.record) == (second.line, second.record) == (2, 1)
