"""``editvc log`` names every branch at a commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS


@pytest.fixture(autouse=True)
def commits(here: Path) -> Path:
    """Two commits on main; two more branches at each."""
    for number in (0, 1):
        inside("commit", written(here / "facts.jsonl", FACTS[number : number + 1]), "-m", "A fact")
        for name in ("alpha", "zeta"):
            inside("branch", f"{name}-{number + 1}")
    return here


def names() -> list[str]:
    """What stands between the id and the number, newest commit first."""
    lines = inside("log", "--oneline").out.splitlines()
    return [line[13:].rsplit(" ", 3)[0] for line in lines]


def test_every_branch_is_named_and_heads_first() -> None:
    assert names() == ["(HEAD -> main, alpha-2, zeta-2)", "(alpha-1, zeta-1)"]
    inside("switch", "zeta-2")
    assert names() == ["(HEAD -> zeta-2, alpha-2, main)", "(alpha-1, zeta-1)"]
    first, _, last = inside("log").out.partition("|\n* commit ")
    assert first.split("\n")[0].endswith(" (HEAD -> zeta-2, alpha-2, main)")
    assert last.split("\n")[0].endswith(" (alpha-1, zeta-1)")


def test_json_lists_them_all() -> None:
    rows = inside("log", "--json").json
    assert [row["branches"] for row in rows] == [
        ["main", "alpha-2", "zeta-2"], ["alpha-1", "zeta-1"],
    ]  # fmt: skip
    for name in ("alpha-1", "zeta-1"):
        inside("branch", "-d", name)
    assert inside("log", "-n", "2", "--json").json[1]["branches"] == []


def test_a_detached_head_is_on_no_branch() -> None:
    inside("switch", "--detach", "HEAD")
    assert names()[0] == "(alpha-2, main, zeta-2)"
    assert inside("log", "--json").json[0]["branches"] == ["alpha-2", "main", "zeta-2"]
