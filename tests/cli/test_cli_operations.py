"""``reflog``, ``undo``, ``redo``, ``reindex``, ``fsck --repair`` as a user meets them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS


@pytest.fixture
def committed(here: Path) -> Path:
    """Two commits on main and a branch at the first one."""
    for number in (0, 1):
        facts = written(here / "facts.jsonl", FACTS[number : number + 1])
        assert inside("commit", facts, "-m", f"Fact {number}").code == 0
    assert inside("branch", "side", "HEAD~1").code == 0
    return here


def head() -> str:
    return str(inside("status", "--json").json["commit"])


def test_undo_and_redo(committed: Path) -> None:
    last, first = (row["commit"] for row in inside("log", "--json").json)
    assert inside("undo").out.splitlines()[0].startswith("Undid branch: created at ")
    before = inside("reflog", "--json").json
    ran = inside("undo", "--dry-run")
    assert ran.out == (
        f"Would undo commit: Fact 1\n refs/heads/main: {last[:10]} -> {first[:10]}\n"
    )
    assert inside("reflog", "--json").json == before and head() == last
    done = inside("undo", "--json", "--author", "Ada <ada@example.org>").json
    assert done["undo"] == "commit: Fact 1" and done["author"] == "carol <>"
    assert done["moves"] == [{"ref": "refs/heads/main", "old": last, "new": first}]
    assert head() == first
    assert inside("reflog", "--json").json[0]["author"] == "Ada <ada@example.org>"
    assert inside("redo").out.startswith("Redid commit: Fact 1\n") and head() == last
    assert inside("redo", "--dry-run").out.startswith("Would redo branch: created")
    assert inside("fsck").out.endswith("clean\n")


def test_nothing_to_undo(here: Path) -> None:
    for _ in range(3):  # what the fixture has done
        assert inside("undo").code == 0
    assert inside("switch", "main").code == 1
    for verb, undone in (("undo", 0), ("redo", 3)):
        for _ in range(undone):
            assert inside("redo").code == 0
        for words in ([verb], [verb, "--dry-run"]):
            ran = inside(*words)
            assert ran.code == 1 and f"error: there is no command to {verb}\nhint: " in ran.err


def test_reflog(committed: Path) -> None:
    lines = inside("reflog").out.splitlines()
    assert [line.split(": ", 1)[1] for line in lines][:2] == ["commit: Fact 1", "commit: Fact 0"]
    assert lines[0].startswith(f"{head()[:10]} HEAD@{{0}} just now: ")
    assert len(inside("reflog", "main", "-n", "1").out.splitlines()) == 1
    inside("branch", "-d", "side")
    assert inside("reflog", "side").out.startswith("(deleted)")
    ran = inside("reflog", "sdie")
    assert ran.code == 1 and "no branch 'sdie'" in ran.err
    assert inside("reflog", "--json").json[1]["message"] == "commit: Fact 0"


def test_a_lost_index_is_built_anew_by_the_next_command(committed: Path) -> None:
    before = inside("log", "--json").out
    (committed / ".editvc" / "index.db").unlink()
    ran = inside("log", "--json")
    assert (ran.code, ran.out) == (0, before)
    (line,) = ran.err.splitlines()
    assert "is missing" in line and "built anew from the objects and 7 operations" in line
    assert inside("log", "--json").err == ""


def test_a_damaged_index_is_refused_and_repaired(committed: Path) -> None:
    before, index = inside("log", "--json").out, committed / ".editvc" / "index.db"
    index.write_bytes(b"no data base" * 1000)
    for words in (["log"], ["fsck"], ["branch", "x"]):
        ran = inside(*words)
        assert ran.code == 3 and "hint: `editvc fsck --repair`" in ran.err, words
    ran = inside("fsck", "--repair")
    assert ran.code == 0 and ran.out.endswith("clean\n")
    assert "repaired: the old one is kept as index.db.damaged-1" in ran.err
    assert inside("log", "--json").out == before
    assert "repaired" not in inside("fsck", "--repair").err


def test_reindex(committed: Path) -> None:
    before = inside("log", "--json").out
    assert "is built anew from the objects" in inside("reindex").err
    (line,) = inside("reindex", "--json").json["done"]
    assert line.endswith("is built anew from the objects")
    assert inside("log", "--json").out == before
    assert inside("-C", committed.parent, "reindex").code == 1


def test_settings_edited_by_hand(committed: Path) -> None:
    path = committed / ".editvc" / "config.toml"
    path.write_text(path.read_text() + "\n# by hand\n")
    ran = inside("fsck")
    assert ran.code == 3 and "`editvc config --accept`" in ran.err
    assert inside("config", "--accept", "user.author").code == 2
    ran = inside("config", "--accept")
    assert ran.code == 0 and "user.author = " in ran.out
    assert inside("fsck").code == 0


def test_copies_that_went_apart_come_together(committed: Path) -> None:
    shutil.copytree(committed / ".editvc", committed / "copy" / ".editvc")
    facts = written(committed / "facts.jsonl", FACTS[3:4])
    inside("-C", committed / "copy", "commit", facts, "-m", "In the copy")
    tip = inside("-C", committed / "copy", "status", "--json").json["commit"]
    objects = committed / ".editvc" / "objects"
    shutil.copytree(committed / "copy" / ".editvc" / "objects", objects, dirs_exist_ok=True)
    ran = inside("fsck")
    assert ran.code == 0 and tip not in ran.err
    assert f"no branch reaches commit {tip[:10]} (number 3, just now: In the copy)" in ran.err
    assert f"`editvc reindex`, then `editvc branch NAME {tip[:10]}` brings it back" in ran.err
    assert "not behind the current operation" in ran.err
    dangling = inside("fsck", "--json").json["dangling"]
    assert tip in [commit["commit"] for commit in dangling]
    inside("reindex")
    assert inside("branch", "found", tip[:10]).code == 0
    assert inside("log", "found", "--oneline").out.count("\n") == 3
    assert tip[:10] not in inside("fsck").err
