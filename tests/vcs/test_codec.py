from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from vcs_values import BASE, RECIPE, fact, safetensors

from editvc.core.history import Commit, Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, canonical_json, object_id
from editvc.vcs import codec
from editvc.vcs.codec import Branch, Leaf, ObjectUnreadable

ID = ObjectId("c" * 64)
COMMIT = Commit(
    tree=ID,
    parents=(ID,),
    author="Ada <ada@example.org>",
    time=1,
    message="Größe ✓",
    number=2,
    edits=1,
    live=2,
    delta=None,
    health=(("drift", 0.5),),
)
LEAF = Leaf((Entry(SlotId("d" * 64), ID, ID),))
BRANCH = Branch((("0", ID, 20), ("f", ID, 13)))


def decode_base(data: bytes) -> object:
    return codec.decode_base(data, source="pocket", revision=None)


DECODERS: list[tuple[codec.Value, Callable[[bytes], object]]] = [
    (fact(1), codec.decode_fact),
    (BASE, decode_base),
    (RECIPE, codec.decode_recipe),
    (Tree(base=ID, edits=ID, restraint=Restraint(prune=1.2)), codec.decode_tree),
    (Tree(base=ID), codec.decode_tree),
    (COMMIT, codec.decode_commit),
    (LEAF, codec.decode_node),
    (BRANCH, codec.decode_node),
]


@pytest.mark.parametrize(("value", "decode"), DECODERS)
def test_round_trip(value: codec.Value, decode: Callable[[bytes], object]) -> None:
    data = codec.encode(value)
    assert decode(data) == value
    assert codec.kind_of(data) == value.to_json()["kind"]


@pytest.mark.parametrize(("value", "decode"), DECODERS)
def test_another_kind_is_refused_and_named(
    value: codec.Value, decode: Callable[[bytes], object]
) -> None:
    data = canonical_json(value.to_json() | {"kind": "song"})
    with pytest.raises(ObjectUnreadable, match="is a 'song' where a") as caught:
        decode(data)
    assert caught.value.id == object_id(data)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("value", "decode"), DECODERS)
def test_a_missing_or_unknown_field_is_damage(
    value: codec.Value, decode: Callable[[bytes], object]
) -> None:
    record = value.to_json()
    for broken in ({"kind": record["kind"]}, {"kind": record["kind"], "entries": [1]}):
        with pytest.raises(ObjectUnreadable, match="malformed"):
            decode(canonical_json(broken))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"kind": 3}', b"{", b"x" * 99, b"[" * 200_000],
    ids=lambda data: repr(data[:12]),
)
def test_bytes_that_are_no_object(data: bytes) -> None:
    with pytest.raises(ObjectUnreadable):
        codec.kind_of(data)


def test_metadata_of_a_safetensors_file() -> None:
    about = {"kind": "located", "request": "é" * 3}
    data = safetensors(about)
    assert codec.metadata(data) == about
    assert codec.kind_of(data) == "located"


def test_metadata_is_what_the_safetensors_library_writes() -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    about = {"kind": "delta", "layers": [1, 2]}
    data = library.save({"left": numpy.ones((2, 3))}, {"editvc": canonical_json(about).decode()})
    assert codec.metadata(data) == about


@pytest.mark.parametrize(
    "header",
    [{}, {"__metadata__": {"format": "pt"}}, {"__metadata__": {"editvc": "[]"}}, []],
)
def test_safetensors_without_our_metadata(header: object) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(ObjectUnreadable):
        codec.metadata(len(text).to_bytes(8, "little") + text)


def test_a_safetensors_file_cut_in_its_header() -> None:
    with pytest.raises(ObjectUnreadable):
        codec.metadata(safetensors({"kind": "delta"})[:40])
