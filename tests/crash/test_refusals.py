"""A part of the refusals of ``refusals.py``; all of them are for that to make."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import Ran
from file_calls import full_disk, heard, sqlite_is_heard
from refusals import TROUBLES, WORDS, Refusing, Trouble, faults
from vcs_values import BASE, CONFIG, RECIPE, STATISTICS, quick_folder
from verbs import VERBS, Verb, prepare_for, state_of, template, typed

from editvc.cli.boundary import failure_of
from editvc.errors import EditvcError
from editvc.vcs.repository import Repository

pytestmark = pytest.mark.skipif(not sqlite_is_heard(), reason="SQLite is built into this Python")


@pytest.fixture(scope="module")
def ready() -> Iterator[Path]:
    with quick_folder() as folder:
        yield template(folder / "ready")


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: errno.errorcode[one.code])
@pytest.mark.parametrize(("name", "every"), [("commit", 17), ("config", 3), ("resolve", 3)])
def test_what_is_refused_changes_nothing_and_is_told(
    ready: Path, name: str, every: int, trouble: Trouble
) -> None:
    told = list(faults(VERBS[name], ready, trouble, every=every))
    assert told and not any(told)


def refused(verb: Verb, ready: Path, work: Path, call: str, *, once: bool = True) -> Ran:
    """Type a command whose every ``call``, or the first one, ends with EIO."""
    prepare_for(verb, ready, work)
    left = [1 if once else 1000]

    def listener(name: str, path: str) -> None:
        if name == call and left[0] and Path(path).is_relative_to(work):
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with heard(listener):
        ran = verb.act(work)
    assert left[0] < (1 if once else 1000)
    return ran


def test_a_commit_whose_flush_fails_is_taken_back(ready: Path, tmp_path: Path) -> None:
    """SQLite has written all of it by then, and finds it again after a power cut."""
    ran = refused(VERBS["branch"], ready, tmp_path / "work", "sqlite-sync")
    assert ran.code == 1 and "the disk reports an error" in ran.err
    assert state_of(tmp_path / "work") == state_of(ready)


def test_a_flush_that_fails_for_good_leaves_it_open(ready: Path, tmp_path: Path) -> None:
    ran = refused(VERBS["branch"], ready, tmp_path / "work", "sqlite-sync", once=False)
    assert ran.code == 1 and "it is not known whether the command took effect" in ran.err


def test_an_object_that_the_machine_refuses_is_not_damaged(ready: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    prepare_for(VERBS["commit"], ready, work)
    store = str(work / ".editvc" / "objects")

    def listener(name: str, path: str) -> None:
        if name == "open" and path.startswith(store) and len(Path(path).name) == 62:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    for words in (("fsck",), ("log",), ("revert", "HEAD")):
        with heard(listener):
            ran = typed(*words)(work)
        assert ran.code in (0, 1) and "damage" not in ran.err
        assert words == ("log",) or "Too many open files" in ran.err


def test_a_disk_that_is_full_takes_no_byte(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="too large"):
        (tmp_path / "note").write_bytes(b"n")
    (tmp_path / "note").write_bytes(b"n")


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: errno.errorcode[one.code])
def test_a_repository_that_cannot_be_made_leaves_nothing(tmp_path: Path, trouble: Trouble) -> None:
    template = tmp_path / "template"
    (template / "hooks").mkdir(parents=True)
    (template / "hooks" / "pre-commit.sample").write_text("#!/bin/sh\n")

    def make(work: Path) -> Ran:
        values = {"base": BASE, "recipe": RECIPE, "config_text": CONFIG, "template": template}
        try:
            Repository.create(work, objects=[STATISTICS], **values).close()
        except (EditvcError, OSError) as error:
            return Ran(1, "", failure_of(error).message)
        return Ran(0, "", "")

    (tmp_path / "whole").mkdir()
    counting = Refusing(trouble, tmp_path / "whole")
    assert counting.run(Verb(make)).code == 0
    assert (tmp_path / "whole" / ".editvc" / "hooks" / "pre-commit.sample").is_file()
    for first in range(0, counting.count, counting.count // 5):
        work = tmp_path / str(first)
        work.mkdir()
        ran = Refusing(trouble, work, first).run(Verb(make))
        if (work / ".editvc").exists():  # it was made, and could not be opened
            with closing(Repository(work / ".editvc")) as repo:
                assert repo.read_base() == BASE
            continue
        assert ran.code == 1 and any(one in ran.err for one in WORDS[trouble.code])
        if trouble.code != errno.EMFILE:  # without which no folder can be looked into
            assert [*work.iterdir()] == [], f"after {first} calls"
