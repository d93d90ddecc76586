"""Documents from anywhere: read as they were written, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editvc.core.ids import ObjectId
from editvc.vcs.remotes.document import Document, DocumentError, Listed, read_document

ONE, TWO = ObjectId("1" * 64), ObjectId("2" * 64)
DOCUMENT = Document(
    ONE,
    TWO,
    "main",
    {"refs/heads/main": ONE, "refs/tags/v1": TWO},
    (Listed(ONE, 77, (TWO,)),),
    {TWO: "recipe"},
    (ONE,),
    {ONE: TWO},
)

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["../../etc/passwd", "refs/heads/../x", "3" * 64, "4" * 63, "/dev/zero"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)  # fmt: skip


def test_a_document_is_read_as_it_was_written() -> None:
    assert read_document(DOCUMENT.encode()) == DOCUMENT


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a value."""
    inner: Any = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(one for key, item in inner for one in places(item, (*path, key)))]


RECORD = json.loads(DOCUMENT.encode())


@settings(max_examples=60)
@given(st.sampled_from(places(RECORD)[1:]), ODD)
def test_whatever_stands_anywhere_in_it_is_sound_or_refused(
    path: tuple[Any, ...], odd: Any
) -> None:
    record = json.loads(DOCUMENT.encode())
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    refused_or_sound(json.dumps(record).encode())


@settings(max_examples=40)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=20).map(lambda cut: DOCUMENT.encode()[: len(cut) * 15])
)
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    refused_or_sound(data)


def refused_or_sound(data: bytes) -> None:
    try:
        document = read_document(data)
    except DocumentError:
        return
    assert read_document(document.encode()) == document
    for ref in document.refs:
        assert ref.startswith(("refs/heads/", "refs/tags/")) and ".." not in ref
    for pack in document.packs:
        assert pack.name == f"packs/{pack.id}.pack" and len(pack.id) == 64 and "/" not in pack.id


@pytest.mark.parametrize(
    "ref",
    ["refs/heads/../main", "refs/heads/-x", "refs/heads/a\x1b[2J", "refs/remotes/a/b", "HEAD",
     "refs/operations/x", "refs/heads/" + "a" * 300, "refs/heads/", "refs/notes/" + "1" * 64],
)  # fmt: skip
def test_refs_of_other_kinds_and_names_are_refused(ref: str) -> None:
    record = json.loads(DOCUMENT.encode())
    record["refs"][ref] = "1" * 64
    with pytest.raises(DocumentError):
        read_document(json.dumps(record).encode())
