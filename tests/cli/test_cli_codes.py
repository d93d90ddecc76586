"""Exit codes: 0 done, 1 input or state, 2 usage, 3 damage, 4 a gate, 70 a bug."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS, opened

from editvc.porcelain import status


@pytest.fixture
def committed(here: Path) -> Path:
    inside("commit", written(here / "facts.jsonl", FACTS))
    return here


USAGE = [
    ["commit"],
    ["commit", "nowhere.json"],
    ["comit", "facts.jsonl"],
    ["log", "--onelin"],
    ["log", "-n", "0"],
    ["squash"],
    ["compact", "--alpha", "1"],
    ["compact", "--rank", "2", "--energy", "0.5"],
    ["compact", "--off", "--rank", "2"],
    ["compact", "--off", "--seed", "0"],
    ["compact", "--alpha", "2", "--linear", "2"],
    ["compact", "--drop", "1"],
    ["compact", "--rect", "101"],
    ["export"],
    ["export", "--to", "out", "--rank", "2"],
    ["export", "--to", "out", "--format", "onnx"],
    ["init", ".", "--layers", "one"],
    ["-C", "nowhere", "status"],
]

STATE = [
    ["compact", "--seed", "2"],
    ["compact", "--rank", "2", "--drop", "0.8"],
    ["show", "elsewhere"],
    ["log", "HEAD~5"],
    ["log", "1..9"],
    ["revert", "base"],
    ["revert", "0123456789"],
    ["squash", "--range", "HEAD"],
    ["switch", "elsewhere"],
    ["branch", "main"],
    ["branch", "12"],
    ["branch", "-d", "main"],
    ["config", "recipe.v_lrr"],
    ["config", "health.drift_warn", "1e9"],
    ["ask", "x", "--at", "elsewhere"],
    ["ask", "x", "--device", "gpu"],
    ["ask", "x", "--device", "cuda:99"],
    ["ask", "x", "--dtype", "int8"],
    ["config", "compute.dtype", "int8"],
    ["init", "."],
    ["export", "--to", "facts.jsonl"],
    ["-C", "/", "status"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_usage(committed: Path, words: list[str]) -> None:
    ran = inside(*words)
    assert ran.code == 2
    assert ran.out == "" and ran.err.startswith("Usage: ") and "Error: " in ran.err


@pytest.mark.parametrize("words", STATE, ids=" ".join)
def test_input_and_state(committed: Path, words: list[str]) -> None:
    ran = inside(*words)
    assert ran.code == 1
    assert ran.out == ""
    error, hint = ran.err.strip().split("\nhint: ")
    assert error.startswith("error: ") and hint
    assert "Traceback" not in ran.err


def test_a_value_of_the_wrong_type(committed: Path) -> None:
    ran = inside("config", "recipe.v_lr", "fast")
    assert ran.code == 1
    assert ran.err == "error: config recipe.v_lr: must be a number, got 'fast'\n"


def test_a_wrong_key_is_close_to_a_right_one(committed: Path) -> None:
    assert "hint: Did you mean 'recipe.v_lr'?" in inside("config", "recipe.v_lrr").err
    inside("branch", "geography")
    assert "hint: Did you mean 'geography'?" in inside("show", "geograhpy").err


def test_damage(committed: Path) -> None:
    repo = opened(committed)
    path = repo.session.repository.store.path(FACTS[0].id)
    path.write_bytes(path.read_bytes().replace(b"Rome", b"Room"))
    for words in (["fsck"], ["show"], ["fsck", "--json"], ["export", "--to", "out"]):
        ran = inside(*words)
        assert ran.code == 3, words
        assert FACTS[0].id[:10] in ran.out + ran.err
        assert "Traceback" not in ran.err
    assert not (committed / "out").exists()
    (committed / ".editvc" / "index.db").write_bytes(b"not a data base, " * 100)
    ran = inside("log")
    assert ran.code == 3 and "index.db" in ran.err


def test_gates(committed: Path) -> None:
    for key in ("health.capacity_warn", "health.capacity_refuse"):
        inside("config", key, "1e-9")
    assert inside("health").code == 0, "asking is no failure"
    gated = inside("health", "--gate", "--json")
    assert gated.code == 4 and '"verdict": "refuse"' in gated.out
    assert any("capacity" in line for line in inside("health", "--gate").out.splitlines())
    published = inside("publish", "alice/tiny")
    assert published.code == 4 and published.out == ""
    assert "health gate refuses" in published.err and "--force" in published.err


def test_a_bug_says_so(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unheard of")

    monkeypatch.setattr(status, "status", broken)
    ran = inside("status")
    assert ran.code == 70 and ran.out == ""
    assert "Traceback" in ran.err and "unheard of" in ran.err and "report" in ran.err


def test_an_interruption(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "status", interrupted)
    ran = inside("status")
    assert (ran.code, ran.out, ran.err) == (130, "", "\nerror: interrupted\n")


def test_the_nearest_repository_upwards(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = committed / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert inside("status", "--json").json["live"] == len(FACTS)
    inner = opened(committed)  # a repository inside another one hides it
    monkeypatch.chdir(committed.parent)
    assert inside("status").code == 1
    assert inside("-C", deep, "status", "--json").json["commit"] == inner.status().commit
    assert inside("-C", "here/a", "log", "--json").json[0]["number"] == 1


def test_paths_are_the_users(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """-C is as if one had gone there, as git has it: FILE and DIR are seen from there, too."""
    monkeypatch.chdir(committed.parent)
    written(committed / "more.jsonl", [FACTS[0]])
    inside("-C", "here", "revert", FACTS[0].id)
    assert inside("-C", "here", "commit", "more.jsonl").code == 0
    assert inside("-C", "here", "export", "--to", "out", "--format", "delta").code == 0
    assert (committed / "out" / "delta.safetensors").is_file()
    assert inside("-C", "here", "convert", "more.jsonl", "--to", "again.jsonl").code == 0
    assert (committed / "again.jsonl").is_file()
    assert inside("-C", "here", "commit", "../more.jsonl").code == 2
    assert Path.cwd() == committed.parent, "and this process is where it was"
