from __future__ import annotations

from pathlib import Path

import pytest

from editvc.core.ids import ObjectId, object_id
from editvc.vcs.files import Files, WriteError, is_temporary
from editvc.vcs.store import (
    DiskStore,
    MemoryStore,
    ObjectCorrupt,
    ObjectMissing,
    ObjectStore,
    ScratchStore,
)

ABSENT = ObjectId("ab" * 32)


class StoreContract:
    """What every store does; each implementation inherits it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        raise AssertionError("each implementation gives its own")

    def damage(self, store: ObjectStore, identifier: ObjectId, data: bytes) -> None:
        raise AssertionError("each implementation gives its own")

    def test_gives_back_what_was_put_under_its_sha256(self, store: ObjectStore) -> None:
        identifier = store.put(b"some bytes")
        assert identifier == object_id(b"some bytes")
        assert store.get(identifier) == b"some bytes"
        assert store.contains(identifier) and not store.contains(ABSENT)

    def test_put_twice_is_put_once(self, store: ObjectStore) -> None:
        assert store.put(b"twice") == store.put(b"twice")
        assert list(store.ids()) == [object_id(b"twice")]

    def test_lists_ids_in_rising_order(self, store: ObjectStore) -> None:
        written = [store.put(bytes([number])) for number in range(20)]
        assert list(store.ids()) == sorted(written)

    def test_lists_ids_that_begin_alike(self, store: ObjectStore) -> None:
        written = sorted(store.put(bytes([number])) for number in range(100))
        for digits in (1, 2, 5, 64):
            prefix = written[7][:digits]
            assert list(store.ids(prefix)) == [one for one in written if one.startswith(prefix)]
        assert list(store.ids("f" * 64)) == []

    def test_put_all_keeps_the_order_given(self, store: ObjectStore) -> None:
        data = [bytes([number]) for number in (3, 1, 2, 1)]
        assert store.put_all(data) == [object_id(one) for one in data]
        assert [store.get(object_id(one)) for one in data] == data

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        assert store.get(store.put(b"")) == b""

    def test_a_missing_object_is_damage_and_says_which(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectMissing, match="abababab") as caught:
            store.get(ABSENT)
        assert caught.value.id == ABSENT
        assert caught.value.exit_code == 3
        assert "editvc fsck" in caught.value.hint

    @pytest.mark.parametrize("bit", [0, 7, 8, 35])
    def test_a_flipped_bit_is_found_on_reading(self, store: ObjectStore, bit: int) -> None:
        identifier = store.put(b"sound")
        flipped = bytearray(b"sound")
        flipped[bit // 8] ^= 1 << bit % 8
        self.damage(store, identifier, bytes(flipped))
        with pytest.raises(ObjectCorrupt) as caught:
            store.get(identifier)
        assert caught.value.id == identifier

    @pytest.mark.parametrize("damaged", [b"", b"soun", b"sound and more", b"tound"])
    def test_writing_again_heals(self, store: ObjectStore, damaged: bytes) -> None:
        identifier = store.put(b"sound")
        self.damage(store, identifier, damaged)
        assert store.put(b"sound") == identifier
        assert store.get(identifier) == b"sound"


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()

    def damage(self, store: ObjectStore, identifier: ObjectId, data: bytes) -> None:
        assert isinstance(store, MemoryStore)
        store.objects[identifier] = data


class TestDiskStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskStore:
        store = DiskStore(tmp_path / "objects", Files())
        store.prepare()
        return store

    def damage(self, store: ObjectStore, identifier: ObjectId, data: bytes) -> None:
        assert isinstance(store, DiskStore)
        store.path(identifier).write_bytes(data)

    def test_the_path_is_the_id(self, store: DiskStore) -> None:
        identifier = store.put(b"x")
        assert store.path(identifier).read_bytes() == b"x"
        parts = store.path(identifier).parts[-2:]
        assert "".join(parts) == identifier and len(parts[0]) == 2

    def test_folders_that_a_copy_lost_are_made_again(self, store: DiskStore) -> None:
        identifier = object_id(b"x")
        store.path(identifier).parent.rmdir()
        assert store.get(store.put(b"x")) == b"x"

    def test_left_over_files_are_no_objects(self, store: DiskStore) -> None:
        identifier = store.put(b"x")
        folder = store.path(identifier).parent
        for name in (".tmp-0123", "README", identifier):
            (folder / name).write_bytes(b"")
        assert list(store.ids()) == [identifier]
        assert sorted(path.name for path in store.strays()) == sorted(
            [".tmp-0123", "README", identifier]
        )

    def test_the_missing_object_names_its_path(self, store: DiskStore) -> None:
        with pytest.raises(ObjectMissing) as caught:
            store.get(ABSENT)
        assert caught.value.path == store.path(ABSENT)
        assert str(store.path(ABSENT)) in str(caught.value)


class TestScratchStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ScratchStore:
        below = DiskStore(tmp_path / "objects", Files())
        below.prepare()
        return ScratchStore(below)

    def damage(self, store: ObjectStore, identifier: ObjectId, data: bytes) -> None:
        assert isinstance(store, ScratchStore)
        store.written.objects[identifier] = data

    def test_what_is_below_is_there_and_stays_as_it_is(self, store: ScratchStore) -> None:
        stored, kept = store.below.put(b"stored"), store.put(b"kept in memory")
        above = ScratchStore(store)
        tried = above.put(b"tried out")
        assert [above.get(one) for one in (stored, kept, tried)] == [
            b"stored", b"kept in memory", b"tried out",
        ]  # fmt: skip
        assert list(above.ids()) == sorted((stored, kept, tried)) and above.contains(kept)
        above.remove(stored)
        assert list(store.below.ids()) == [stored] and not store.contains(tried)


class Stop(Exception):
    """What the fault hook raises."""


class TestFiles:
    def test_replaces_in_one_step_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "deep" / "file"
        Files().write(path, b"old")
        Files().write(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(path.parent.iterdir()) == [path]

    def test_calls_the_hook_before_each_step_in_order(self, tmp_path: Path) -> None:
        steps: list[str] = []
        Files(steps.append).write(tmp_path / "file", b"x")
        assert steps == ["create", "write", "fsync", "rename", "fsync-folder"]

    @pytest.mark.parametrize("stop", range(5))
    def test_a_stop_leaves_the_old_file_or_the_new(self, tmp_path: Path, stop: int) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        steps: list[str] = []

        def fault(step: str) -> None:
            if len(steps) == stop:
                raise Stop(step)
            steps.append(step)

        with pytest.raises(Stop):
            Files(fault).write(path, b"new")
        assert path.read_bytes() == (b"new" if stop == 4 else b"old")
        others = [one.name for one in tmp_path.iterdir() if one != path]
        assert all(is_temporary(name) for name in others)
        assert len(others) == (1 if 0 < stop < 4 else 0)

    def test_a_refusal_of_the_file_system_is_a_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(WriteError, match="cannot write") as caught:
            Files().write(tmp_path / "taken", b"x")
        assert caught.value.exit_code == 1
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]
