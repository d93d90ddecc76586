"""Branches at work, from the command line: a conflict, a merge, its decisions, and the ways out."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, loaded_after, written
from tiny_repos import ADA, FACTS, OTHERS

from editvc.core.ids import short

BO = "Bo <bo@example.org>"


@pytest.fixture
def forked(here: Path) -> Path:
    """Rome on main and London on ``side``, in place of nothing; Italy on main."""
    inside("commit", written(here / "a.jsonl", FACTS[2:3]), "-m", "Start", "--author", ADA)
    inside("switch", "-c", "side")
    inside("commit", written(here / "b.jsonl", OTHERS[:1]), "-m", "London", "--author", BO)
    inside("switch", "main")
    inside("commit", written(here / "c.jsonl", FACTS[:2]), "-m", "Rome", "--author", ADA)
    return here


def test_the_story_of_two_branches(forked: Path) -> None:
    """Two branches, a conflict, its decision, a merge; then a rebase, a reset and a restore."""
    stopped = inside("merge", "side", "--author", ADA)
    assert stopped.code == 1 and "`editvc merge --continue`" in stopped.err
    lines = [" ".join(line.split()) for line in stopped.out.splitlines()]
    side, main = (inside("log", name, "--json").json[0]["commit"] for name in ("side", "main"))
    slot = short(FACTS[0].slot)
    assert lines == [
        f"conflict {slot} The capital of France is",
        "base nothing",
        f"ours Rome {ADA}, {short(main)} Rome",
        f"theirs London {BO}, {short(side)} London",
    ]
    refused = inside("revert", "HEAD")
    assert refused.code == 1 and "a merge of side is not finished: 1 conflict" in refused.err
    shown = inside("status")
    assert "A merge of side waits: 1 of 1 undecided" in shown.out and slot in shown.out
    assert inside("status", "--json").json["unfinished"]["verb"] == "merge"
    assert inside("merge", "--continue").code == 1
    assert inside("resolve", slot, "--theirs").out.splitlines()[0].endswith(": theirs")
    done = inside("merge", "--continue")
    assert done.code == 0 and "Merge branch 'side' into main" in done.out
    assert [row["parents"] for row in inside("log", "-n", "1", "--json").json] == [[main, side]]
    assert f"| merge of {short(main)} {short(side)}" in inside("show").out
    assert inside("diff", "side", "HEAD", "--json").json["changed"] == []
    assert len(inside("diff", "side", "HEAD", "--json").json["added"]) == 1

    inside("switch", "side")
    moved = inside("merge", "main")
    assert moved.code == 0 and moved.out.startswith("Fast-forward to ")
    assert inside("merge", "main").out == "Already up to date\n"
    back = inside("reset", "HEAD~1", "--json").json
    assert back["left"] == [] and back["new"] == main
    assert inside("restore", FACTS[1].id[:8], "--from", "1").code == 0
    left = inside("reset", "1")
    assert left.out.startswith("left ") and "`editvc reset " in left.err
    assert inside("fsck").code == 0


def test_cherry_pick_and_rebase(forked: Path) -> None:
    planned = inside("cherry-pick", "side", "--dry-run", "--json")
    assert planned.code == 1, "it would stop"
    stopped = inside("rebase", "side", "--json")
    assert stopped.code == 1 and '"moved": false' in stopped.out
    assert inside("rebase", "--abort").out.startswith("HEAD is at ")
    inside("rebase", "side")
    assert inside("cherry-pick", "--continue").code == 1
    assert inside("rebase", "--skip").code == 0
    numbers = [row["message"] for row in inside("log", "--json").json]
    assert numbers == ["London", "Start"]
    assert inside("reset", "@{1}").code == 0


@pytest.mark.parametrize(
    "words",
    ["merge", "merge side --abort", "rebase", "cherry-pick --skip --abort", "resolve 12",
     "resolve 12 --ours --theirs", "merge --continue -m words", "rebase --continue --dry-run",
     "cherry-pick --abort --dry-run", "merge --abort --ours"],
)  # fmt: skip
def test_wrong_words(forked: Path, words: str) -> None:
    assert inside(*words.split()).code == 2


@pytest.mark.parametrize(
    "words", ["merge --abort", "merge --continue", "rebase --skip", "resolve 1234 --ours"]
)
def test_nothing_waits(forked: Path, words: str) -> None:
    ran = inside(*words.split())
    assert ran.code == 1 and "waits" in ran.err


@pytest.mark.parametrize("words", ["status", "resolve 0 --ours", "reset HEAD"])
def test_what_only_looks_loads_no_tensors(forked: Path, words: str) -> None:
    inside("merge", "side")
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        f"sys.argv = ['editvc', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    pass"
    )
    assert not loaded_after(code, forked) & {"torch", "transformers", "numpy"}
