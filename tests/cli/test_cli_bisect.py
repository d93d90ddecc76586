"""``editvc bisect``: what is printed, what a command is told, and what goes together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import ADA, FACTS

from editvc.core.ids import short


@pytest.fixture
def history(here: Path) -> Path:
    """Three facts, one a commit."""
    for number, fact in enumerate(FACTS[:3], 1):
        inside("commit", written(here / "f.jsonl", [fact]), "-m", f"No. {number}", "--author", ADA)
    return here


def norm(number: int) -> float:
    return float(inside("show", str(number), "--json").json["health"]["delta_norm"])


def test_the_first_bad_commit_is_said_with_what_takes_it_back(history: Path) -> None:
    limit = (norm(1) + norm(2)) / 2
    ran = inside("bisect", "base", "2", "--metric", "delta_norm", "--limit", limit)
    commit = inside("show", "2", "--json").json["commit"]
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        f"first bad commit {short(commit)} 2 No. 2",
        f"  + {short(FACTS[1].id)} {FACTS[1].line}",
        f"to take it back: editvc revert {short(commit)}",
    ]
    assert "base: good (0)" in ran.err and "2: bad (" in ran.err and "to come" in ran.err
    done = inside("bisect", "base", "2", "--metric", "delta_norm", "--limit", limit, "--json").json
    assert done["first_bad"]["commit"] == commit
    assert [test["verdict"] for test in done["tests"]] == ["good", "bad", "good"]


def test_a_command_judges_what_is_exported(history: Path) -> None:
    check = history / "check.py"
    check.write_text(
        "import os, sys\n"
        "print('printed by the command')\n"
        "assert os.path.isfile(os.environ['EDITVC_MODEL'] + '/config.json')\n"
        "sys.exit(1 if os.environ['EDITVC_COMMIT'] else 0)\n"
    )
    ran = inside("bisect", "--run", f"{sys.executable} {check}", "--json")
    assert ran.json["first_bad"]["number"] == 1, "stdout holds our JSON alone"


def test_the_smallest_set(history: Path) -> None:
    limit = norm(3) * 0.999
    ran = inside("bisect", "--set", "--metric", "delta_norm", "--limit", limit)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("these are enough, and none of them can be left out:\n  + ")
    assert "to take it back: editvc revert " in ran.out
    done = inside("bisect", "--set", "--metric", "delta_norm", "--limit", limit, "--json").json
    assert done.keys() >= {"added", "removed", "changed", "restraint", "brought", "heals", "cures"}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--prompt", "x"],
        ["--expect", "x", "--metric", "drift", "--limit", "1"],
        ["--metric", "drift"],
        ["--metric", "nonsense", "--limit", "1"],
        ["--prompt", "x", "--expect", "y", "--run", "true"],
        ["--run", "true", "--facts", "f.jsonl"],
    ],
)
def test_what_does_not_go_together_is_a_mistake_of_usage(history: Path, words: list[str]) -> None:
    assert inside("bisect", *words).code == 2


def test_ends_that_are_alike_are_told(history: Path) -> None:
    ran = inside("bisect", "--metric", "drift", "--limit", "1e9")
    assert ran.code == 1 and "there is nothing to search for: HEAD is good" in ran.err
