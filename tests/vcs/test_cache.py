from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from editvc.vcs import cache as vcs_cache
from editvc.vcs.cache import Cache
from editvc.vcs.files import TEMPORARY_PREFIX, Files


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Files())


def test_gives_back_what_was_put_until_it_vanishes(cache: Cache) -> None:
    assert cache.get("kind", "name") is None
    for data in (b"some bytes", b"", b"others"):
        cache.put("kind", "name", data)
        assert cache.get("kind", "name") == data
    assert cache.get("kind", "other") is None
    assert cache.get("other", "name") is None
    (cache.folder / "kind" / "name").unlink()
    assert cache.get("kind", "name") is None


def test_lets_go_of_one_and_of_nothing(cache: Cache) -> None:
    for name in ("one", "other"):
        cache.put("kind", name, name.encode())
    cache.drop("kind", "one")
    cache.drop("kind", "one")
    assert cache.get("kind", "one") is None and cache.get("kind", "other") == b"other"


@pytest.mark.parametrize("place", [0, 31, 32, 36])
def test_a_flipped_bit_is_as_good_as_nothing(cache: Cache, place: int) -> None:
    cache.put("kind", "name", b"sound")
    path = cache.folder / "kind" / "name"
    sound = path.read_bytes()
    path.write_bytes(sound[:place] + bytes([sound[place] ^ 4]) + sound[place + 1 :])
    assert cache.get("kind", "name") is None
    assert cache.get_or_make("kind", "name", lambda: b"sound") == b"sound"
    assert path.read_bytes() == sound


@pytest.mark.parametrize("length", [0, 5, 32, 36])
def test_a_cut_file_is_as_good_as_nothing(cache: Cache, length: int) -> None:
    cache.put("kind", "name", b"sound")
    path = cache.folder / "kind" / "name"
    path.write_bytes(path.read_bytes()[:length])
    assert cache.get("kind", "name") is None


def test_what_another_version_made_is_made_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been computed, or laid out, in another way."""
    cache.put("kind", "name", b"older")
    with monkeypatch.context() as newer:
        newer.setattr(vcs_cache, "__version__", "99.0")
        assert cache.get("kind", "name") is None
        assert cache.get_or_make("kind", "name", lambda: b"newer") == b"newer"
    assert cache.get("kind", "name") is None


def test_makes_what_is_not_there_once(cache: Cache) -> None:
    made: list[str] = []
    for _ in range(2):
        assert cache.get_or_make("kind", "name", lambda: made.append("once") or b"data") == b"data"
    assert made == ["once"]


def test_one_alone_takes_the_place_of_the_others_of_its_kind(cache: Cache) -> None:
    cache.put("kind", "first", b"1")
    cache.put("other", "first", b"1")
    unfinished = cache.folder / "kind" / f"{TEMPORARY_PREFIX}of another process"
    unfinished.write_bytes(b"")
    for name in ("second", "second", "third"):
        cache.put_alone("kind", name, name.encode())
        assert cache.get("kind", name) == name.encode()
    assert cache.get("kind", "first") is cache.get("kind", "second") is None
    assert cache.get("other", "first") == b"1"
    assert unfinished.exists()


@pytest.mark.parametrize("step", ["create", "fsync", "rename", "fsync-folder"])
def test_a_folder_that_vanishes_meanwhile_costs_no_command(tmp_path: Path, step: str) -> None:
    """Another process deletes it while this one writes to it."""

    def vanish(here: str) -> None:
        if here == step:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    cache = Cache(tmp_path / "cache", Files(vanish))
    assert cache.get_or_make("kind", "name", lambda: b"data") == b"data"
    cache.put_alone("kind", "name", b"data")


def test_what_cannot_be_written_is_not_kept(cache: Cache) -> None:
    cache.folder.write_bytes(b"a file in the place of the folder")
    assert cache.get_or_make("kind", "name", lambda: b"data") == b"data"
    cache.put_alone("kind", "name", b"data")
    assert cache.get("kind", "name") is None
