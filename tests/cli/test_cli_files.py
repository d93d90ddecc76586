"""Files of facts without a repository: every problem at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import clean, inside, written
from tiny_repos import FACTS

GOOD = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}
BAD = [
    GOOD,
    GOOD | {"subject": 3},
    GOOD | {"target_nwe": "x"},
    GOOD | {"target_new": "Nice"},
    GOOD,
]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, and no repository there or above."""
    clean(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lint_tells_every_problem_with_its_place_and_way_out(nowhere: Path) -> None:
    ran = inside("lint", written(nowhere / "bad.jsonl", BAD).name)
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    for number in (2, 3, 4, 5):
        assert sum(f"bad.jsonl:{number}: record {number}: " in line for line in lines) == 1
    assert "  hint: Did you mean 'target_new'?" in lines
    assert lines[-1] == "4 problems, 2 good facts"


def test_lint_of_good_files(nowhere: Path) -> None:
    ran = inside("lint", written(nowhere / "good.jsonl", FACTS).name)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"0 problems, {len(FACTS)} good facts\n"


def test_lint_as_json(nowhere: Path) -> None:
    written(nowhere / "bad.jsonl", BAD)
    ran = inside("lint", "bad.jsonl", "-", "--json", stdin=b"caf\xe9")
    told = json.loads(ran.out)
    assert (ran.code, told["facts"]) == (1, 2)
    assert [(each["file"], each["line"]) for each in told["problems"]] == [
        ("bad.jsonl", 2), ("bad.jsonl", 3), ("bad.jsonl", 4), ("bad.jsonl", 5), ("-", 1),
    ]  # fmt: skip
    keys = {"file", "line", "record", "field", "problem", "hint"}
    assert all(each.keys() == keys for each in told["problems"])


def test_lint_asks_for_zsre_s_target_as_commit_does(nowhere: Path) -> None:
    zsre = {"subject": "France", "src": "Where is France?", "alt": "x", "answers": ["y"]}
    written(nowhere / "zsre.jsonl", [zsre, zsre | {"src": "Who?"}])
    assert "--target alt" in inside("lint", "zsre.jsonl").out
    assert inside("lint", "zsre.jsonl", "--target", "alt").out.endswith("1 problem, 1 good fact\n")
