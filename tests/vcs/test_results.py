"""Results: found by what was asked, verified by what they are, and no more than one an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.ids import ObjectId
from editvc.vcs.files import Files
from editvc.vcs.results import Question, Result, Results

TREE, BASE = ObjectId("a" * 64), ObjectId("b" * 64)
QUESTION = Question(TREE, BASE, "edits", 1, {"max_new_tokens": 12}, "d" * 64)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results", Files())


def test_an_answer_is_found_by_its_question_alone(results: Results) -> None:
    assert results.get(QUESTION) is None and results.of_tree(TREE) == []
    results.put(Result(QUESTION, {"es": 99.5, "answers": ["東京"]}))
    assert results.get(QUESTION) == {"es": 99.5, "answers": ["東京"]}
    for other in (
        replace(QUESTION, tree=BASE),
        replace(QUESTION, base=TREE),
        replace(QUESTION, suite="generation"),
        replace(QUESTION, protocol=2),
        replace(QUESTION, settings={"max_new_tokens": 13}),
        replace(QUESTION, data="e" * 64),
    ):
        assert results.get(other) is None


def test_another_answer_takes_the_place_of_the_first(results: Results) -> None:
    results.put(Result(QUESTION, {"es": 1.0}))
    results.put(Result(QUESTION, {"es": 2.0}))
    assert results.get(QUESTION) == {"es": 2.0}
    assert [one.answer for one in results.of_tree(TREE)] == [{"es": 2.0}]


def test_what_was_altered_counts_as_missing_and_is_named(results: Results) -> None:
    results.put(Result(QUESTION, {"es": 1.0}))
    (path,) = (results.folder / TREE).iterdir()
    assert list(results.damaged()) == []
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))
    assert results.get(QUESTION) is None and results.of_tree(TREE) == []
    assert list(results.damaged()) == [f"{TREE}/{path.name}"]
    results.put(Result(QUESTION, {"es": 1.0}))
    assert results.get(QUESTION) == {"es": 1.0} and list(results.damaged()) == []


def test_a_result_under_another_question_is_damage(results: Results) -> None:
    results.put(Result(QUESTION, {"es": 1.0}))
    (path,) = (results.folder / TREE).iterdir()
    path.rename(path.with_name("0" * 64 + path.name[64:]))
    assert len([*results.damaged()]) == 1


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.booleans()))
def test_the_same_settings_ask_the_same_in_any_order(settings: dict[str, object]) -> None:
    turned = dict(reversed(settings.items()))
    assert replace(QUESTION, settings=settings).digest == replace(QUESTION, settings=turned).digest
