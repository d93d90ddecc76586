"""``gc`` as a user meets it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import inside
from vcs_values import commit_facts, create, fact

from editvc.vcs.repository import Repository


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits, and an old object that nothing leads to."""
    with closing(create(tmp_path)) as repo:
        commit_facts(repo, fact(1))
        commit_facts(repo, fact(2))
        path = repo.store.path(repo.store.put(b'{"kind":"fact"}'))
        os.utime(path, (1000, 1_600_000_000))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loose(place: Path) -> int:
    with closing(Repository(place / ".editvc")) as repo:
        return len(list(repo.store.loose_ids()))


def test_it_says_what_it_packs_and_drops(place: Path) -> None:
    before = loose(place)
    lines = [
        f"{before - 1} objects would be packed",
        "1 objects would be dropped: nothing leads to them",
    ]
    assert inside("gc", "--dry-run").out.splitlines() == lines
    assert loose(place) == before
    assert inside("gc").out == "\n".join(lines).replace("would be ", "") + "\n"
    assert loose(place) == 0
    assert inside("gc", "--json").json == {
        "packed": 0, "merged": 0, "dropped": 0, "young": 0, "temporary": 0, "waits": False,
    }  # fmt: skip
    assert inside("fsck").code == 0 and inside("log", "-n", "1", "--json").json[0]["number"] == 2


def test_a_day_says_how_old_is_old(place: Path) -> None:
    assert inside("gc", "--prune", "2020-01-01", "--dry-run", "--json").json["dropped"] == 0
    assert inside("gc", "--prune", "2021-01-01", "--dry-run", "--json").json["dropped"] == 1
    assert inside("gc", "--prune", "now", "--dry-run", "--json").json["dropped"] == 1
    ran = inside("gc", "--prune", "yesterday")
    assert ran.code == 2 and "neither 'now' nor a day" in ran.err


def test_while_others_write_nothing_is_dropped_and_that_is_said(place: Path) -> None:
    with closing(Repository(place / ".editvc")) as other:
        other.store.put(b"something")
        ran = inside("gc")
        assert ran.code == 0 and "other commands are writing" in ran.err
        assert "dropped" not in ran.out
