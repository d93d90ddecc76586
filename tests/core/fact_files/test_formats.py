"""What holds for every schema: shapes of a text, one fact in each, repeats and contradictions."""

from __future__ import annotations

import json

import pytest
from fact_records import LYON, OSAKA, REQUEST, one, read, refused

from editvc.core.fact_files.reader import FactFileError, SourcedFact, marked, read_facts
from editvc.core.facts import Fact


def test_one_fact_reads_the_same_in_every_schema():
    rewrite = {
        "prompt": "The capital of {} is",
        "subject": "France",
        "target_new": {"str": "Lyon"},
        "target_true": {"str": "Paris"},
    }
    zsre = {"subject": "France", "src": "The capital of France is", "answers": ["Paris"]}
    facts = {
        one(LYON | {"target_true": "Paris"}),
        one({"requested_rewrite": rewrite}),
        one({"requested_rewrite": [rewrite]}),
        one(REQUEST | {"ground_truth": "Paris"}),
        one(zsre | {"alt": "Lyon"}, target="alt"),
    }
    assert len(facts) == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (json.dumps(LYON), [1]),
        ("\ufeff" + json.dumps(LYON), [1]),
        (json.dumps(LYON, indent=2), [1]),
        (f"\n\n{json.dumps(LYON)}\r\n \n{json.dumps(OSAKA)}\n\n", [3, 5]),
        (f"[\n{json.dumps(LYON)},\n\n{json.dumps(OSAKA, indent=1)}\n]\n", [2, 4]),
        (json.dumps([LYON, OSAKA]), [1, 1]),
        (f'{{"version": 1,\n"facts": [\n{json.dumps(LYON)}]}}', [3]),
    ],
)
def test_the_shapes_a_text_may_have(text, lines):
    found = read(text)
    assert [item.line for item in found] == lines
    assert [item.record for item in found] == list(range(1, len(lines) + 1))
    assert [item.fact.subject for item in found] == ["France", "Japan"][: len(lines)]
    assert found[0].place == f"f:{lines[0]}"


def test_a_line_separator_inside_a_text_is_no_new_line():
    record = LYON | {"source": "one\u2028two"}
    assert len(read(f"{json.dumps(record, ensure_ascii=False)}\n{json.dumps(OSAKA)}")) == 2


def test_standard_input_is_named_as_such():
    with pytest.raises(FactFileError, match="standard input: is empty") as caught:
        read_facts([("-", "")])
    assert caught.value.file == "-"


def test_a_repeat_is_marked_with_the_place_of_the_first():
    first, other, again = read_facts(
        [
            ("a", f"{json.dumps(LYON)}\n{json.dumps(OSAKA)}"),
            ("b", json.dumps(LYON | {"subject": "FRANCE"})),
        ]
    )
    assert (first.duplicate_of, other.duplicate_of) == (None, None)
    assert again.duplicate_of == "a:1"


def test_a_contradiction_names_both_places():
    error = refused(f"{json.dumps(LYON)}\n{json.dumps(LYON | {'target_new': 'Nice'})}")
    assert (error.line, error.field) == (2, "target_new")
    for part in ("f:1", "f:2", "'Nice'", "'Lyon'", "'France'"):
        assert part in str(error)
    assert "--supersede" in error.hint


def test_facts_made_in_python_are_marked_and_checked_too():
    lyon = Fact(**LYON)
    nice = Fact(**LYON | {"target_new": "Nice"})
    items = [SourcedFact(fact, "facts", None, i) for i, fact in enumerate((lyon, lyon, nice), 1)]
    assert [item.duplicate_of for item in marked(items[:2])] == [None, "facts (record 1)"]
    with pytest.raises(FactFileError, match=r"facts: record 3: .*facts \(record 1\)"):
        marked(items)
