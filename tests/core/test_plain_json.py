"""JSON and TOML from anywhere: values, or one error that says why not."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.plain_json import DEPTH, JsonError, read_json
from editvc.core.plain_toml import LONGEST, read_toml

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_json_can_say_is_read(value: object) -> None:
    text = json.dumps(value)
    try:
        plain = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(JsonError):
            read_json(text)
    else:
        assert read_json(plain) == read_json(text) == value


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "Expecting"),
        (b"\xff", "not UTF-8"),
        ('{"a": "\\ud800"}', "not UTF-8"),
        ("\ud800", "Expecting|not UTF-8"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nested"),
        ('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "nested"),
        ("[" * 10**6, "nested"),
        ("1" * 301, "301 digits"),
        ("1" * 10**5, "100000 digits"),
        ("1e999", "too large"),
        ("NaN", "NaN"),
        ("[-Infinity]", "-Infinity"),
    ],
)
def test_all_else_is_one_error(data: bytes | str, problem: str) -> None:
    with pytest.raises(JsonError, match=problem):
        read_json(data)


def test_the_deepest_that_is_read() -> None:
    text = "[" * DEPTH + "]" * DEPTH
    assert json.dumps(read_json(text)) == text
    flat = [[]] * (10 * DEPTH)
    assert read_json(json.dumps(flat)) == flat, "many brackets are not deep"
    assert read_json(json.dumps(int(1e30))) == int(1e30), "as tokenizers have it"


@pytest.mark.parametrize(
    "text",
    ["a = ", "a = " + "[" * 10**4, "a = " + "[" * 65 + "]" * 65, "a" + ".a" * 100 + " = 1",
     "a = " + "1" * 5000, "a = 2020-13-40", f"# {'x' * LONGEST}"],
)  # fmt: skip
def test_toml_that_is_none_or_too_much_is_one_error(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        read_toml(text)
    assert read_toml("[a.b]\nc = [1]") == {"a": {"b": {"c": [1]}}}
