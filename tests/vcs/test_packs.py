from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vcs_values import located, safetensors

from editvc.core.ids import ObjectId, object_id
from editvc.vcs import packs
from editvc.vcs.files import Files
from editvc.vcs.packs import LEAST, Pack, PackDamaged, write_pack
from editvc.vcs.store import DiskStore, ObjectCorrupt, ObjectMissing

ABSENT = ObjectId("ab" * 32)

objects = st.one_of(
    st.binary(max_size=80),
    st.text(alphabet="abc{}[]", max_size=3000).map(str.encode),
    st.binary(max_size=200).map(lambda data: safetensors({"kind": "delta"}, data)),
)
bags = st.lists(objects, max_size=40)


def pack_bytes(bag: list[bytes]) -> bytes:
    stream = io.BytesIO()
    write_pack(stream, [(object_id(data), data) for data in bag])
    return stream.getvalue()


def packed(folder: Path, bag: list[bytes]) -> Pack:
    """A pack of these objects, under its name in ``folder``."""
    data = pack_bytes(bag)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{data[-32:].hex()}.pack"
    path.write_bytes(data)
    return Pack(path)


@given(bag=bags)
@settings(max_examples=40)
def test_what_goes_in_comes_out_under_its_id(
    tmp_path_factory: pytest.TempPathFactory, bag: list[bytes]
) -> None:
    pack = packed(tmp_path_factory.mktemp("pack"), bag)
    expected = {object_id(data): data for data in bag}
    assert list(pack.ids()) == sorted(expected)
    assert {one: pack.get(one) for one in pack.ids()} == expected
    assert len(pack) == len(expected) and pack.whole()
    assert ABSENT not in pack and pack.get(ABSENT) is None
    pack.close()


@given(bag=bags, prefix=st.text(alphabet="0123456789abcdef", max_size=3))
@settings(max_examples=40)
def test_ids_that_begin_alike_are_found_by_search(
    tmp_path_factory: pytest.TempPathFactory, bag: list[bytes], prefix: str
) -> None:
    pack = packed(tmp_path_factory.mktemp("pack"), bag)
    assert list(pack.ids(prefix)) == [one for one in pack.ids() if one.startswith(prefix)]
    assert list(pack.ids(prefix)) == sorted(
        {object_id(data) for data in bag if object_id(data).startswith(prefix)}
    )
    pack.close()


def test_the_name_is_the_digest_of_the_content() -> None:
    bag = [b"one", b"two"]
    assert pack_bytes(bag) == pack_bytes([*bag, b"one"]), "an object twice is there once"
    assert pack_bytes(bag)[-32:].hex() == object_id(pack_bytes(bag)[:-32])


def test_values_are_deflated_and_numbers_are_not(tmp_path: Path) -> None:
    value, numbers = b'{"kind":"fact"}' * 100, located("a" * 64, b"\0" * 4000)
    assert len(pack_bytes([value])) < len(value)
    assert len(pack_bytes([numbers])) > len(numbers)


@given(bag=st.lists(objects, min_size=1, max_size=6), data=st.data())
@settings(max_examples=40)
def test_no_flipped_bit_gives_other_bytes_and_none_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, bag: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    sound = packed(folder, bag)
    expected = {one: sound.get(one) for one in sound.ids()}
    content = bytearray(sound.path.read_bytes())
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    damaged = folder / "damaged"
    damaged.write_bytes(content)
    try:
        pack = Pack(damaged)
    except PackDamaged:
        return
    assert not pack.whole()
    for identifier, value in expected.items():
        try:
            assert pack.get(identifier) in (value, None)
        except PackDamaged as error:
            assert error.exit_code == 3 and "editvc fsck" in error.hint
    pack.close()


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    content = packed(tmp_path, [b"one", b"two" * 100]).path.read_bytes()
    for size in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:size])
        try:
            assert not Pack(tmp_path / "cut").whole(), size
        except PackDamaged as error:
            assert size >= LEAST or "cut short" in str(error)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackDamaged, match="no regular file"):
        Pack(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic"):
        Pack(tmp_path / "link")


class TestStoreWithPacks:
    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskStore:
        return DiskStore(tmp_path / "objects", Files())

    def test_loose_and_packed_objects_are_read_alike(self, store: DiskStore) -> None:
        loose = store.put(b"loose")
        packed(store.folder / "pack", [b"packed", b"loose"])
        assert store.get(object_id(b"packed")) == b"packed" and store.get(loose) == b"loose"
        assert list(store.ids()) == sorted([loose, object_id(b"packed")])
        assert store.contains(object_id(b"packed")) and not store.contains(ABSENT)
        with pytest.raises(ObjectMissing):
            store.get(ABSENT)
        assert list(store.strays()) == []

    def test_a_pack_that_comes_later_is_seen(self, store: DiskStore) -> None:
        identifier = store.put(b"once loose")
        assert store.get(identifier) == b"once loose"
        packed(store.folder / "pack", [b"once loose"])
        store.path(identifier).unlink()
        assert store.get(identifier) == b"once loose"

    def test_objects_that_move_to_another_pack_are_found(self, store: DiskStore) -> None:
        old = packed(store.folder / "pack", [b"one"])
        assert store.get(object_id(b"one")) == b"one"
        packed(store.folder / "pack", [b"one", b"two"])
        old.path.unlink()
        assert store.get(object_id(b"one")) == b"one", "who has the pack open reads on"
        assert store.get(object_id(b"two")) == b"two"
        assert list(store.ids()) == sorted(map(object_id, [b"one", b"two"]))

    def test_what_is_packed_is_not_written_again_and_counts_as_new(self, store: DiskStore) -> None:
        pack = packed(store.folder / "pack", [b"packed"])
        os.utime(pack.path, (5, 5))
        store.put(b"packed")
        assert not store.path(object_id(b"packed")).exists()
        assert pack.path.stat().st_mtime > 5

    def test_what_is_stored_counts_as_new_when_it_is_put_again(self, store: DiskStore) -> None:
        path = store.path(store.put(b"loose"))
        os.utime(path, (5, 5))
        store.put(b"loose")
        assert path.stat().st_mtime > 5

    def damaged(self, store: DiskStore, content: bytes) -> Path:
        """A pack that holds other bytes under the id of ``content``."""
        stream = io.BytesIO()
        write_pack(stream, [(object_id(content), b"x" + content[1:])])
        path = store.folder / "pack" / f"{'0' * 64}.pack"
        path.parent.mkdir(parents=True)
        path.write_bytes(stream.getvalue())
        return path

    def test_a_damaged_packed_object_is_named_and_writing_it_again_heals(
        self, store: DiskStore
    ) -> None:
        path = self.damaged(store, b"sound")
        with pytest.raises(ObjectCorrupt, match=path.name):
            store.get(object_id(b"sound"))
        store.put(b"sound")
        assert store.get(object_id(b"sound")) == b"sound"

    def test_a_sound_copy_serves_where_another_is_damaged(self, store: DiskStore) -> None:
        path = store.path(store.put(b"sound"))
        packed(store.folder / "pack", [b"sound"])
        path.write_bytes(b"tound")
        assert store.get(object_id(b"sound")) == b"sound"
        with pytest.raises(ObjectCorrupt):
            store.strictly(object_id(b"sound"))


def test_too_few_descriptors_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(tmp_path / "objects", Files())
    pack = packed(store.packs.folder, [b"one"])
    pack.close()

    def refused(path: Path) -> object:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(packs, "_mapped", refused)
    with pytest.raises(OSError, match="Too many open files"):
        store.get(object_id(b"one"))
    monkeypatch.undo()
    assert store.get(object_id(b"one")) == b"one"
