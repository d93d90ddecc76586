"""The reading that goes on past what is wrong, and that reading facts stops at the first of."""

from __future__ import annotations

import json

import pytest
from fact_records import LYON, OSAKA, ZSRE

from editvc.core.fact_files.reader import FactFileError, examined, read_facts

SOURCES = [
    ("a", f"{json.dumps(LYON)}\n{{broken\n{json.dumps(LYON | {'tags': 1})}\n{json.dumps(OSAKA)}"),
    ("latin", b"ok\ncaf\xe9"),
    ("b", json.dumps(LYON | {"target_new": "Nice"})),
    ("c", json.dumps(OSAKA).encode()),
]


def test_good_facts_and_every_problem_of_every_file_in_order():
    reading = examined(SOURCES)
    assert [item.place for item in reading.facts] == ["a:1", "a:4", "c:1"]
    places = [(each.file, each.line) for each in reading.problems]
    assert places == [("a", 2), ("a", 3), ("latin", 2), ("b", 1)]
    assert all(each.others == () for each in reading.problems)


def test_a_repeat_is_a_finding_but_no_problem():
    reading = examined(SOURCES)
    (repeat,) = [each for each in reading.findings if each not in reading.problems]
    assert (repeat.file, repeat.line, repeat.record) == ("c", 1, 1)
    assert "a:4" in repeat.problem and "skips" in repeat.hint
    assert str(reading.findings[-1]) == str(repeat)
    assert len(read_facts([SOURCES[3], SOURCES[3]])) == 2


def test_reading_facts_raises_the_first_of_the_same_problems():
    with pytest.raises(FactFileError) as caught:
        read_facts(SOURCES)
    told = [caught.value, *caught.value.others]
    assert [each.to_json() for each in told] == [
        each.to_json() for each in examined(SOURCES).problems
    ]


def test_every_finding_names_a_way_out_and_can_be_json():
    findings = examined([*SOURCES, ("z", json.dumps(ZSRE)), ("empty", "")]).findings
    for each in findings:
        assert each.hint
        assert json.loads(json.dumps(each.to_json()))["problem"] == each.problem
    assert [each.file for each in findings][-2:] == ["z", "empty"]
