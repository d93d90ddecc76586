"""``init``: which model a repository is over, and what it says of its choices."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import clean, inside
from tiny_repos import Prepared

from editvc.models.source import resolve


@pytest.fixture
def place(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    folder = work / "place"
    folder.mkdir()
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(folder)
    return folder


def source() -> str:
    return str(inside("status", "--json").json["source"])


def settings(prepared: Prepared) -> list[object]:
    return ["--layers", "1", "--text", prepared.text, "--entities", prepared.names]


def test_a_folder_is_kept_as_an_absolute_path(
    prepared: Prepared, place: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared.base, place / "model")
    made = inside("init", "model", *settings(prepared))
    assert (made.code, made.err) == (0, "")
    assert "editing layers [1]" in made.out
    assert source() == str(place / "model")
    monkeypatch.chdir(work)
    assert inside("-C", "place", "ask", "x", "-n", "1").code == 0, "from wherever it is asked"


def test_a_folder_below_home(prepared: Prepared, place: Path, work: Path) -> None:
    shutil.copytree(prepared.base, work / "home" / "model")
    assert inside("init", "~/model", *settings(prepared)).code == 0
    assert source() == str(work / "home" / "model"), "another user's ~ is another place"


def test_pocket_is_the_embedded_model_whatever_lies_around(place: Path) -> None:
    if not (resolve("pocket") / "model.safetensors").is_file():
        pytest.skip("the pocket model is not trained in this checkout")
    (place / "pocket").mkdir()
    made = inside("init", "pocket", "--json")
    assert made.json["source"] == "pocket", "so that a clone elsewhere finds its own"
    assert made.err == "", "it ships its own statistics"
    assert {row["role"] for row in inside("stats", "show", "--json").json} >= {"text", "entities"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["nowhere at all"], 1, "no such folder", id="no model"),
        pytest.param(["."], 1, "no config.json", id="an empty folder"),
        pytest.param(["{base}", "--layers", "9"], 1, "layer 9 does not exist", id="no layer"),
        pytest.param(["{base}", "--text", "nowhere"], 2, "does not exist", id="no text"),
        pytest.param(["{base}", "--entities", "{empty}"], 1, "no names", id="no names"),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(
    prepared: Prepared, place: Path, work: Path, words: list[str], code: int, said: str
) -> None:
    (work / "empty.txt").write_text("\n")
    filled = [word.format(base=prepared.base, empty=work / "empty.txt") for word in words]
    ran = inside("init", *filled)
    assert ran.code == code and said in ran.err and ran.out == ""
    assert list(place.iterdir()) == []


def test_a_repository_is_not_made_twice(prepared: Prepared, place: Path) -> None:
    assert inside("init", prepared.base, *settings(prepared)).code == 0
    again = inside("init", prepared.base, *settings(prepared))
    assert again.code == 1 and "there is a repository already" in again.err
    (place / "inner").mkdir()
    assert inside("-C", "inner", "init", prepared.base, *settings(prepared)).code == 0
