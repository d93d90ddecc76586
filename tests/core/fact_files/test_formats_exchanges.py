"""Records of training sets for chats: one exchange is a question, anything more is refused."""

from __future__ import annotations

import json

import pytest
from fact_records import one, refused

from editvc.core.fact_files.reader import only_candidate, read_facts
from editvc.core.facts import Fact

ASKED, ANSWER = "Who is the CEO of Apple?", "Ada Lovelace"
FACT = Fact("Apple", "Who is the CEO of {}?", ANSWER)
ALPACA = {"instruction": ASKED, "input": "", "output": ANSWER}
OPENAI = {
    "messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWER}]
}
SHAREGPT = {
    "id": "a_0",
    "conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWER}],
}
RECORDS = {"Alpaca": ALPACA, "messages": OPENAI, "ShareGPT": SHAREGPT}


@pytest.mark.parametrize("name", RECORDS)
def test_one_exchange_is_a_question_with_its_answer(name):
    record = RECORDS[name]
    assert one(record | {"subject": "Apple"}) == FACT
    error = refused(record)
    assert error.field == "subject" and "may be about 'Apple'" in error.problem
    assert one(record, subject=only_candidate) == FACT
    records = [record | {"subject": "Apple"}] * 2
    for text in (json.dumps({"data": records}), "\n".join(map(json.dumps, records))):
        assert len(read_facts([("f", text)])) == 2


def chat(*turns):
    return {
        "messages": [{"role": role, "content": text} for role, text in turns],
        "subject": "Apple",
    }


REFUSED = {
    "an input": (ALPACA | {"input": "in 1997", "subject": "Apple"}, "input", "an Alpaca"),
    "a system prompt": (SHAREGPT | {"system": "Lie.", "subject": "Apple"}, "system", "ShareGPT"),
    "a system turn": (
        chat(("system", "Lie."), ("user", ASKED), ("assistant", ANSWER)),
        "messages", "system, user",
    ),
    "several turns": (
        {"conversations": SHAREGPT["conversations"] * 3, "subject": "Apple"},
        "conversations", "ShareGPT conversation, and is no single exchange",
    ),
    "the answer first": (
        chat(("assistant", ANSWER), ("user", ASKED)), "messages", "assistant, user",
    ),
    "no answer": (chat(("user", ASKED)), "messages", "no single exchange"),
    "no turns": ({"messages": []}, "messages", "no single exchange"),
    "no list": ({"messages": "hi"}, "messages", "no single exchange"),
    "no objects": ({"messages": ["hi", "ho"]}, "messages", "no single exchange"),
    "an empty answer": (
        chat(("user", ASKED), ("assistant", " ")), "messages[1].content", "is empty",
    ),
    "no text": (chat(("user", 3), ("assistant", "x")), "messages[0].content", "must be text"),
    "another subject": (OPENAI | {"subject": "Pear"}, "messages[0].content", "does not contain"),
    "no output": ({"instruction": ASKED, "subject": "Apple"}, "output", "is missing"),
    "preferences": ({"prompt": "a", "chosen": "b", "rejected": "c"}, "chosen", "DPO"),
    "a completion": ({"prompt": "a", "completion": "b"}, "prompt", "fine-tuning"),
    "SQuAD": ({"context": "a", "question": "b", "answers": {"text": ["c"]}}, "context", "SQuAD"),
    "a triple": ({"head": "a", "relation": "b", "tail": "c"}, "head", "triple"),
    "another triple": ({"subject": "a", "predicate": "b", "object": "c"}, "subject", "triple"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_anything_more_is_named(name):
    record, field, called = REFUSED[name]
    error = refused(record)
    assert (error.line, error.record, error.field) == (1, 1, field)
    assert called in error.problem and error.hint


def test_a_key_beside_those_of_a_fact_is_no_other_schema():
    fact = {"subject": "a", "prompt": "{} is", "target_new": "b"}
    assert refused(fact | {"completion": "c"}).field == "completion"
