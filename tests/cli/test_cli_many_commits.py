"""A thousand commits: what only reads history imports no tensors, and shows all of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import SCRIPT, Ran, environment, inside, poisoned, script
from vcs_values import commit_facts, create, fact, quick_folder

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the console script is not installed")

COMMITS = 1000
HEAVY = (
    *("torch", "transformers", "huggingface_hub", "safetensors", "numpy", "peft", "rich"),
    "sqlite_utils",
)
SQL = ("sqlite_utils", "numpy")
"""What `grep` and `query` may load: sqlite-utils imports NumPy where it is."""


@pytest.fixture(scope="module")
def thousand() -> Iterator[Path]:
    """A thousand commits of one fact each, with made-up numbers: no model takes part."""
    with quick_folder() as folder:
        repo = create(folder)
        for number in range(COMMITS):
            commit_facts(repo, fact(number))
        repo.refs.create_branch("half", repo.revisions.commit("500"), author="Ada <>", time=0)
        repo.close()
        yield folder


@pytest.fixture
def light(work: Path) -> dict[str, str]:
    """An environment in which importing anything heavy ends the command."""
    return environment(work, PYTHONPATH=poisoned(work / "poison", *HEAVY))


@pytest.mark.parametrize(
    "words",
    ["--help", "--version", "log", "log --oneline", "log -n 3", "log half", "log 10..20",
     "status", "show", "show 500", "show HEAD~999", "branch", "branch new half", "switch half",
     "config", "config recipe.layers", "fsck", "revert --help"],
)  # fmt: skip
def test_history_needs_no_tensors(
    thousand: Path, work: Path, light: dict[str, str], words: str
) -> None:
    here = thousand
    if words.startswith(("branch new", "switch")):
        here = work / "copy"
        shutil.copytree(thousand / ".editvc", here / ".editvc")
    ran = script(*words.split(), cwd=here, env=light)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert (ran.out != "") or words == "branch new half"


@pytest.mark.parametrize("name", ["status", "log", "show", "branch", "config", "fsck"])
def test_json_needs_none_either(thousand: Path, light: dict[str, str], name: str) -> None:
    assert script(name, "--json", cwd=thousand, env=light).json


def test_the_poison_works(thousand: Path, light: dict[str, str]) -> None:
    ran = script("health", cwd=thousand, env=light)
    assert ran.code == 70 and "torch was imported" in ran.err


def test_grep_and_query_load_no_tensors(thousand: Path, work: Path) -> None:
    poison = poisoned(work / "poison", *(name for name in HEAVY if name not in SQL))
    env = environment(work, PYTHONPATH=poison)
    found = script("grep", "Thing 777", "--json", cwd=thousand, env=env).json
    assert [fact["subject"] for fact in found["facts"]] == ["Thing 777"]
    query = "SELECT count(*) AS n FROM live"
    assert script("query", query, "--json", cwd=thousand, env=env).json == [{"n": COMMITS}]


def test_all_of_it_is_shown(thousand: Path) -> None:
    rows = inside("-C", thousand, "log", "--json").json
    assert [row["number"] for row in rows] == list(range(COMMITS, 0, -1))
    assert [row["live"] for row in rows] == list(range(COMMITS, 0, -1))
    lines = inside("-C", thousand, "log", "--oneline").out.splitlines()
    assert len(lines) == COMMITS
    assert lines[0].endswith("(HEAD -> main) 1000 Commit 1000")
    assert lines[500].endswith("(half) 500 Commit 500")
    assert len(inside("-C", thousand, "log", "half").out.splitlines()) == 5 * 500 - 1
    shown: Ran = inside("-C", thousand, "show", "500")
    assert "The colour of Thing 499 is -> green" in shown.out
    assert inside("-C", thousand, "status", "--json").json["live"] == COMMITS
