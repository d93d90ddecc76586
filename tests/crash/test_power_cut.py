"""A part of the cuts of ``power_cut.py``; all of them are for that to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_calls import sqlite_is_heard
from forgetful_disk import ForgetfulDisk, restore
from power_cut import faults
from vcs_values import quick_folder
from verbs import VERBS, template

from editvc.vcs.files import Files

pytestmark = pytest.mark.skipif(not sqlite_is_heard(), reason="SQLite is built into this Python")


@pytest.fixture(scope="module")
def ready() -> Iterator[Path]:
    with quick_folder() as folder:
        yield template(folder / "ready")


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.mark.parametrize(
    ("name", "every"), [("commit", 30), ("switch -c", 20), ("notes add", 25), ("config", 3)]
)
def test_a_cut_leaves_the_old_or_the_new(ready: Path, name: str, every: int) -> None:
    told = list(faults(VERBS[name], ready, every=every))
    assert len(told) >= 3 and not any(told)


def states(disk: ForgetfulDisk, place: Path) -> list[object]:
    """What ``note`` holds in each state, None where it is not there."""
    seen = []
    for number, one in enumerate(disk.cuts.values()):
        restore(one, place / str(number))
        note = place / str(number) / "note"
        seen.append(note.read_bytes() if note.exists() else None)
    return seen


def test_what_was_not_flushed_is_old_new_or_torn(place: Path) -> None:
    work = place / "work"
    work.mkdir()
    disk = ForgetfulDisk(work)
    with disk.watching():
        (work / "note").write_bytes(b"n" * 1024)
        disk.cut()
    seen = states(disk, place)
    assert {None, b"", b"n" * 1024} < {*seen}
    assert any(one is not None and 0 < one.count(b"n") < 1024 for one in seen), "a sector of two"


def test_a_rename_that_was_not_flushed_may_be_lost_and_is_whole(place: Path) -> None:
    work = place / "work"
    work.mkdir()
    (work / "note").write_bytes(b"old")
    disk = ForgetfulDisk(work)
    with disk.watching():
        (work / "other").write_bytes(b"new")
        with (work / "other").open("rb") as file:
            os.fsync(file.fileno())
        os.replace(work / "other", work / "note")
        disk.acknowledge()
        Files().settle(work)
        disk.acknowledge()
    assert {*states(disk, place)} == {b"old", b"new"}
    assert {key[0] for key in disk.cuts} == {0, 1, 2}
    assert [one["note"] for (done, _), one in disk.cuts.items() if done == 2] == [b"new"]


def test_objects_whose_names_are_not_flushed_are_found_out(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: then an operation that the index names is not there after a cut."""

    def hasty(self: Files, temporary: Path, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    monkeypatch.setattr(Files, "_write_and_rename", hasty)
    assert any(faults(VERBS["branch"], ready, every=3))


def test_an_index_that_does_not_wait_for_the_disk_is_found_out(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editvc.vcs import index_file

    real = index_file.connected

    def hasty(path: Path | str) -> object:
        connection = real(path)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    monkeypatch.setattr(index_file, "connected", hasty)
    assert any("lost" in one for one in faults(VERBS["branch"], ready, every=1))
