"""Packs from outside: taken whole, or refused with nothing left of them."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packs import bags, pack_bytes

from editvc.core.ids import ObjectId, object_id
from editvc.errors import EditvcError
from editvc.vcs.files import Files
from editvc.vcs.pack_intake import Limits, PackRefused, admitted, dropped, received
from editvc.vcs.packs import COUNT, FAN_OUT, MAGIC, PLACE, Pack
from editvc.vcs.store import DiskStore

Row = tuple[str, int, int, int]
"""An id, and its place."""


def taken(content: bytes, folder: Path, limits: Limits | None = None) -> Pack:
    return received(io.BytesIO(content), folder, Files(), "a test", limits)


def made(bodies: bytes, rows: list[Row], fan_out: list[int] | None = None) -> bytes:
    """A pack with a sound digest, and whatever is given as its parts."""
    counts = fan_out or [sum(int(row[0][:2], 16) <= byte for row in rows) for byte in range(256)]
    content = MAGIC + bodies + FAN_OUT.pack(*counts)
    content += b"".join(bytes.fromhex(row[0]) for row in rows)
    content += b"".join(PLACE.pack(*row[1:]) for row in rows) + COUNT.pack(len(rows))
    return content + sha256(content).digest()


@given(bag=bags)
@settings(max_examples=30)
def test_a_sound_pack_is_seen_when_it_is_admitted(
    tmp_path_factory: pytest.TempPathFactory, bag: list[bytes]
) -> None:
    store = DiskStore(tmp_path_factory.mktemp("store"), Files())
    pack = taken(pack_bytes(bag), store.packs.folder)
    assert list(store.ids()) == []
    admitted(pack, store.files)
    assert {one: store.get(one) for one in store.ids()} == {object_id(one): one for one in bag}
    assert list(store.strays()) == []


def test_what_is_not_wanted_leaves_nothing(tmp_path: Path) -> None:
    dropped(taken(pack_bytes([b"one"]), tmp_path))
    assert list(tmp_path.iterdir()) == []


A, B = sorted((b"first object", b"second one"), key=object_id)
BODIES = A + B
HEAD = len(MAGIC)
ROWS: list[Row] = [
    (object_id(A), HEAD, len(A), len(A)),
    (object_id(B), HEAD + len(A), len(B), len(B)),
]
BOMB = zlib.compress(b"\0" * 10_000_000)


def bomb(length: int) -> bytes:
    return made(BOMB, [(object_id(b"\0" * 10_000_000), HEAD, len(BOMB), length)])


HOSTILE = {
    "bytes of another object": (made(A, [(object_id(b"x"), *ROWS[0][1:])]), "other bytes"),
    "falling ids": (made(BODIES, ROWS[::-1]), "rising"),
    "an id twice": (made(A, [ROWS[0], ROWS[0]]), "rising"),
    "overlapping bodies": (made(A, [ROWS[0], (object_id(A[:5]), HEAD, 5, 5)]), "overlap"),
    "something between": (
        made(A + b"--" + B, [ROWS[0], (ROWS[1][0], HEAD + len(A) + 2, len(B), len(B))]),
        "between them",
    ),
    "something behind": (made(BODIES + b"--", ROWS), "its bodies and its index"),
    "a place before": (made(A, [(object_id(A), 0, len(A), len(A))]), "overlap"),
    "a place behind": (made(A, [(object_id(A), HEAD + 5, len(A), len(A))]), "overlap"),
    "a huge offset": (made(A, [(object_id(A), 2**64 - 1, 2**64 - 1, 2**64 - 1)]), "overlap"),
    "no deflated body": (made(A, [(object_id(A), HEAD, len(A), len(A) + 1)]), "inflated"),
    "a bomb": (bomb(5000 + len(BOMB)), "another length"),
    "a bomb that says so": (bomb(1 << 33), "no possible length"),
    "a fan-out that falls": (made(BODIES, ROWS, [2, 1] + [2] * 254), "hold together"),
    "a fan-out beyond": (made(BODIES, ROWS, [9] * 256), "hold together"),
    "a fan-out that hides": (made(BODIES, ROWS, [0] * 255 + [2]), "does not find"),
    "an empty file": (b"", "cut short"),
    "another file": (b"#!/bin/sh\n" * 1000, "no known format"),
    "more objects than bytes": (
        (c := MAGIC + b"\0" * FAN_OUT.size + COUNT.pack(2**60)) + sha256(c).digest(),
        "too short",
    ),
    "another digest": (pack_bytes([A])[:-1] + b"\0", "digest"),
    "trailing bytes": (pack_bytes([A]) + b"more", "too short"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pack_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    content, word = HOSTILE[name]
    with pytest.raises(PackRefused, match=word) as caught:
        taken(content, tmp_path)
    assert caught.value.exit_code == 1 and "a test" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_helper_makes_sound_packs(tmp_path: Path) -> None:
    assert [taken(made(BODIES, ROWS), tmp_path).get(row[0]) for row in ROWS] == [A, B]  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [Limits(pack=100), Limits(objects=1), Limits(object=11)])
def test_too_much_is_refused(limits: Limits, tmp_path: Path) -> None:
    with pytest.raises(PackRefused):
        taken(pack_bytes([A, B]), tmp_path, limits)
    assert list(tmp_path.iterdir()) == []


@given(bag=st.lists(st.binary(max_size=40), min_size=1, max_size=5), data=st.data())
@settings(max_examples=50)
def test_changed_bytes_are_refused_though_the_digest_fits(
    tmp_path_factory: pytest.TempPathFactory, bag: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    content = bytearray(pack_bytes(bag)[:-32])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    changed = bytes(content) + sha256(content).digest()
    sound = {object_id(one): one for one in bag}
    try:
        pack = taken(changed, folder)
    except EditvcError:
        assert list(folder.iterdir()) == []
    else:  # changed back
        assert {one: pack.get(ObjectId(one)) for one in pack.ids()} == sound


def test_a_bomb_is_not_inflated_beyond_what_it_says(tmp_path: Path) -> None:
    content = bomb(5000 + len(BOMB))
    tracemalloc.start()
    try:
        with pytest.raises(PackRefused):
            taken(content, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
