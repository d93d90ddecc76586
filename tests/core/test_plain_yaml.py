"""YAML as recipes are written, and nothing that a few lines blow up."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from editvc.core.plain_yaml import read_yaml

BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{name}, *{name}, *{name}, *{name}]\n"
    for name, after in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc ä:#'-"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


@given(VALUES)
def test_all_else_is_read_as_ever(value: object) -> None:
    assert read_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a [*a]",
        "[" * 5000,
        "x: 2024-99-99",
        "!!python/object:os.system x",
        "a: *b",
        "\t:",
    ],
)
def test_what_is_no_value_is_refused_at_once(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)
