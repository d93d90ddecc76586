"""Reading facts, for every fact: each schema gives it back, and no broken record slips through.

The writers of the schemas, and the faults, are those of ``fact_schemas``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from core_strategies import facts, phrases
from fact_schemas import (
    LITERAL,
    SCHEMAS,
    TABLES,
    WRONG,
    as_csv,
    broken,
    changed,
    literal_once,
    malformed,
    no_separator,
    own,
    question,
    table,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from editvc.core.fact_files.reader import FactFileError, examined, read_facts
from editvc.core.facts import Fact


def expected(fact, schema):
    absent = SCHEMAS[schema][1]
    left_out = {name: Fact.__dataclass_fields__[name].default for name in absent}
    fact = replace(fact, **left_out)
    return replace(fact, paraphrases=fact.paraphrases[:1]) if schema == "mquake" else fact


@pytest.mark.parametrize("schema", SCHEMAS)
@settings(max_examples=40)
@given(fact=facts, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_every_fact_is_read_as_it_was_written(schema, fact, indent, ascii_only):
    assume(schema not in LITERAL or literal_once(fact))
    record = SCHEMAS[schema][0](fact)
    text = json.dumps(record, indent=indent, ensure_ascii=ascii_only)
    (found,) = read_facts([("f", text)], target="alt")
    assert found.fact == expected(fact, schema)
    assert (found.line, found.record, found.duplicate_of) == (1, 1, None)


@settings(max_examples=100)
@given(facts.filter(no_separator))
def test_every_fact_is_read_from_csv_as_it_was_written(fact):
    (found,) = read_facts([("f", as_csv(*table(fact)))])
    assert found.fact == fact
    assert (found.line, found.record) == (2, 1)
    assume(literal_once(fact))
    (asked,) = read_facts([("f", as_csv(*table(fact, question)))])
    assert asked == found


@settings(max_examples=40)
@given(
    st.lists(facts, min_size=2, max_size=6, unique_by=lambda fact: fact.slot),
    st.lists(st.sampled_from(["own", "counterfact", "mquake"]), min_size=6, max_size=6),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
)
def test_schemas_can_be_mixed_and_lines_are_counted_past_the_blank_ones(some, schemas, blanks):
    chosen = list(zip(some, schemas, blanks, strict=False))
    lines, text = [], ""
    for fact, schema, blank in chosen:
        text += "\n" * blank
        lines.append(text.count("\n") + 1)
        text += json.dumps(SCHEMAS[schema][0](fact), ensure_ascii=False) + "\n"
    found = read_facts([("f", text)])
    assert [item.fact for item in found] == [expected(fact, name) for fact, name, _ in chosen]
    assert [item.line for item in found] == lines


# --- what is broken raises, and raises nothing else --------------------------------------------


@pytest.mark.parametrize("schema", [*SCHEMAS, *TABLES])
@settings(max_examples=200)
@given(data=st.data())
def test_a_malformed_record_raises_one_error_and_nothing_else(schema, data):
    text = data.draw(broken(schema))
    with pytest.raises(FactFileError) as caught:
        read_facts([("f", text)], target="alt")
    error = caught.value
    assert error.file == "f"
    # What was spoilt may hold several things that are wrong now; all that is told is about it.
    spoilt = {re.split(r"[.\[]", one.field or "")[0] for one in (error, *error.others)}
    assert len(spoilt) == 1
    assert error.problem and error.hint and str(error).startswith("f:")
    assert error.line is not None or error.problem == "is empty"
    str(error).encode()


@pytest.mark.parametrize("schema", SCHEMAS)
@settings(max_examples=100)
@given(data=st.data())
def test_every_fault_of_a_record_is_told_and_nothing_else(schema, data):
    """Fields spoiled on their own give the same problems as all of them spoiled together."""
    writer, _, paths = SCHEMAS[schema]
    record = writer(data.draw(facts.filter(literal_once)))
    tops = [
        path for path in paths if not any(path == other[: len(path)] != other for other in paths)
    ]
    spoilt = data.draw(st.lists(st.sampled_from(tops), unique=True, min_size=1))
    values = [data.draw(WRONG.filter(lambda value: value is not None)) for _ in spoilt]

    def problems(faults):
        wrong = record
        for path, value in faults:
            wrong = changed(wrong, path, lambda inner, key, value=value: inner.update({key: value}))
        reading = examined([("f", json.dumps(wrong))], target="alt")
        assert not reading.facts
        return {(each.line, each.field, each.hint) for each in reading.problems}

    alone = [problems([fault]) for fault in zip(spoilt, values, strict=True)]
    together = problems(zip(spoilt, values, strict=True))
    fields = [{field for _, field, _ in one} for one in alone]
    assert {field for _, field, _ in together} == set().union(*fields)
    assert len(together) == len(spoilt)


@settings(max_examples=100)
@given(st.sampled_from(sorted(SCHEMAS)).flatmap(malformed), facts, facts)
def test_one_malformed_line_among_good_ones_is_the_one_that_is_named(text, before, after):
    assume(text.strip() and before.slot != after.slot)
    lines = [json.dumps(own(before)), text, json.dumps(own(after))]
    with pytest.raises(FactFileError) as caught:
        read_facts([("f", "\n".join(lines))], target="alt")
    assert caught.value.line == 2


@settings(max_examples=300)
@given(
    st.text(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | phrases,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "subject",
                        "prompt",
                        "target_new",
                        "locality",
                        "requested_rewrite",
                        "src",
                        "alt",
                        "ground_truth",
                        "str",
                        "facts",
                        "question",
                        "answer",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(json.dumps),
    st.sampled_from([None, "answers", "alt"]),
)
def test_whatever_the_text_reading_ends_in_facts_or_in_its_own_error(text, target):
    try:
        found = read_facts([("f", text)], target=target)
    except FactFileError as error:
        assert error.problem
    else:
        assert found
