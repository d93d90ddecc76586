"""Ids of objects, whole or abbreviated: one object of the kind asked for, or an error."""

from __future__ import annotations

from itertools import count

import pytest

from editvc.core.ids import ObjectId, canonical_json
from editvc.vcs.short_ids import AmbiguousObject, UnknownObject, whole_id
from editvc.vcs.store import MemoryStore


def put(store: MemoryStore, kind: str, number: int) -> ObjectId:
    return store.put(canonical_json({"kind": kind, "number": number}))


def test_digits_that_fit_one_object_are_its_id() -> None:
    store = MemoryStore()
    one = put(store, "editor", 1)
    for text in (one, one[:4], one[:10].upper(), f" {one[:8]} "):
        assert whole_id(store, text, "editor") == one


def test_objects_of_other_kinds_do_not_count() -> None:
    store = MemoryStore()
    one = put(store, "editor", 1)
    other = next(
        other for other in (put(store, "statistics", n) for n in count()) if other[:4] == one[:4]
    )
    assert whole_id(store, one[:4], "editor") == one
    assert whole_id(store, one[:4], "statistics") == other
    with pytest.raises(UnknownObject, match="kind 'editor'"):
        whole_id(store, other, "editor")


def test_digits_that_fit_several_are_refused_with_the_candidates() -> None:
    store, seen = MemoryStore(), dict[str, ObjectId]()
    for number in count():
        one = put(store, "editor", number)
        if one[:4] in seen:
            break
        seen[one[:4]] = one
    with pytest.raises(AmbiguousObject, match="fits 2 objects of kind 'editor'") as caught:
        whole_id(store, one[:4], "editor")
    assert set(caught.value.candidates) == {one, seen[one[:4]]}
    assert one[:10] in caught.value.hint


@pytest.mark.parametrize("text", ["", "abc", "abcd", "xyz-", "0" * 64, "0" * 65])
def test_what_names_no_object(text: str) -> None:
    store = MemoryStore()
    put(store, "editor", 1)
    with pytest.raises(UnknownObject) as caught:
        whole_id(store, text, "editor")
    assert "4 hex digits" in caught.value.hint
