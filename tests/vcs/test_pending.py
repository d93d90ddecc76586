"""``pending.json``: what is written is read again, and nothing else is taken for it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vcs_values import commit_facts, fact

from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, canonical_json
from editvc.vcs.files import Files
from editvc.vcs.fsck import fsck
from editvc.vcs.pending import RESTRAINT, Pending, PendingFile, PendingUnreadable
from editvc.vcs.repository import Repository
from editvc.vcs.three_way import Sides

IDS = st.integers(0, 2**64).map(lambda number: f"{number:064x}")
ENTRIES = st.none() | st.tuples(IDS, IDS)
RESTRAINTS = st.none() | st.integers(1, 9).map(lambda rank: Restraint(rank=rank))
TEXTS = st.text(max_size=9)


@st.composite
def pendings(draw: st.DrawFn) -> Pending:
    def entry(slot: str) -> Entry | None:
        one = draw(ENTRIES)
        return one and Entry(SlotId(slot), ObjectId(one[0]), ObjectId(one[1]))

    slots = draw(st.sets(IDS, max_size=3))
    conflicts = {SlotId(slot): Sides(entry(slot), entry(slot), entry(slot)) for slot in slots}
    sides = st.sampled_from(["ours", "theirs", "base", "none"])
    limits = draw(st.none() | st.builds(Sides, RESTRAINTS, RESTRAINTS, RESTRAINTS))
    return Pending(
        verb=draw(st.sampled_from(["merge", "cherry-pick", "rebase"])),
        ref=draw(TEXTS),
        began=draw(IDS),
        parent=draw(IDS),
        tree=draw(IDS),
        message=draw(TEXTS),
        author=draw(TEXTS),
        time=draw(st.none() | st.integers(0, 9)),
        about=draw(TEXTS),
        others=tuple(draw(st.lists(IDS, max_size=2))),
        conflicts=conflicts,
        restraints=limits,
        chosen={slot: draw(sides) for slot in slots if draw(st.booleans())},
        done=tuple(draw(st.lists(IDS, max_size=2))),
        todo=tuple(draw(st.lists(IDS, max_size=2))),
        replayed=draw(st.none() | IDS),
    )


@given(pendings())
def test_it_is_read_as_it_was_written(pending: Pending) -> None:
    assert Pending.from_json(json.loads(canonical_json(pending.to_json()))) == pending
    assert {*pending.open} == {*pending.places} - {*pending.chosen}
    for place in pending.open:
        assert place not in pending.choosing(place, "ours").open
    assert (RESTRAINT in pending.places) == (pending.restraints is not None)


@given(pendings(), st.data())
def test_what_was_not_written_is_damage_and_no_bug(pending: Pending, data: st.DataObject) -> None:
    """Any part of it in the place of any other: read as something sound, or refused."""
    record = json.loads(canonical_json(pending.to_json()))
    strange: list[Any] = [None, 5, "x", [], {}, "../../dev/zero", [["a"]], {"a": 1}, {"a": "b"}]
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = data.draw(st.sampled_from([*strange, *record.values()]))
    try:
        found = Pending.from_json(record)
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    assert Pending.from_json(found.to_json()) == found


def sample(tree: str) -> Pending:
    return Pending(
        verb="merge", ref="refs/heads/main", began=ObjectId("1" * 64), parent=ObjectId("1" * 64),
        tree=ObjectId(tree), message="m", author="a", time=None, about="side",
    )  # fmt: skip


def test_a_file_is_there_while_something_waits(tmp_path: Path) -> None:
    file = PendingFile(tmp_path, Files())
    assert file.load() is None
    file.remove()
    pending = sample("2" * 64)
    file.save(pending)
    assert PendingFile(tmp_path, Files()).load() == pending
    file.save(replace(pending, about="other"))
    assert file.load() == replace(pending, about="other")
    file.remove()
    assert file.load() is None and list(tmp_path.iterdir()) == []


def test_links_pipes_and_folders_are_not_read(tmp_path: Path) -> None:
    file = PendingFile(tmp_path, Files())
    (tmp_path / "real").write_bytes(canonical_json(sample("2" * 64).to_json()))
    makers = (lambda: file.path.symlink_to(tmp_path / "real"), lambda: os.mkfifo(file.path),
              file.path.mkdir)  # fmt: skip
    for make in makers:
        make()
        with pytest.raises(PendingUnreadable):
            file.load()
        file.path.rmdir() if file.path.is_dir() else file.path.unlink()


def test_fsck_follows_what_waits(repo: Repository) -> None:
    commit_facts(repo, fact(1))
    tree = repo.write(Tree(base=repo.config.base.id, restraint=Restraint(rank=3)))
    assert tree in fsck(repo).garbage
    repo.pending.save(sample(tree))
    report = fsck(repo)
    assert report.clean and tree not in report.garbage
    repo.pending.save(sample("3" * 64))
    assert [one.where for one in fsck(repo).errors] == ["pending.json"]
    repo.pending.path.write_text("{")
    assert "cannot be read" in fsck(repo).errors[0].what
