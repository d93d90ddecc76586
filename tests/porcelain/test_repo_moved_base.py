"""A base that was moved: the error names the verb, and the verb takes the same model alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import inside
from safetensors.torch import load_file, save_file
from tiny_repos import FACTS, Prepared, close

from editvc import Repo
from editvc.models.fingerprint import BaseMismatchError
from editvc.models.source import ModelNotFoundError


@pytest.fixture
def moved(prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose ``repo`` has its base at ``old``, which is ``new`` meanwhile."""
    shutil.copytree(prepared.base, work / "old")
    repo = prepared.copy(work / "repo")
    repo.configure("base.model", str(work / "old"))
    repo.commit(FACTS[:1])
    close(repo)
    (work / "old").rename(work / "new")
    (work / "repo" / "deep").mkdir()
    monkeypatch.chdir(work / "repo")
    return work


def test_the_error_names_the_verb(moved: Path) -> None:
    for words in (["ask", "x"], ["base"], ["eval"]):
        ran = inside(*words)
        assert ran.code == 1 and "no such folder" in ran.err and "`editvc base DIR`" in ran.err
    assert inside("log").code == inside("status").code == 0


@pytest.mark.parametrize(
    ("where", "name"), [("repo", "../new"), ("repo/deep", "../../new"), ("repo", "~/new")]
)
def test_the_verb_points_to_the_new_place(
    moved: Path, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    monkeypatch.setenv("HOME", str(moved))
    monkeypatch.chdir(moved / where)
    ran = inside("base", name, "--json")
    assert ran.json["source"] == str(moved / "new") and ran.json["tensors"] > 20
    monkeypatch.chdir(moved / "repo" / "deep")
    assert inside("ask", "x").code == 0, "a relative path was stored as it was typed"
    assert inside("base").out.splitlines()[0].startswith(f"Base {moved / 'new'} (")
    assert inside("fsck").code == 0


@pytest.mark.parametrize("name", ["../new", "~/new"])
def test_config_keeps_no_path_that_is_relative_to_somewhere(
    moved: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(moved))
    assert inside("config", "base.model", name).code == 0
    assert inside("config", "base.model").out == f"{moved / 'new'}\n"


def test_a_path_written_by_hand_is_seen_from_the_repository(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = moved / "repo" / ".editvc" / "config.toml"
    path.write_text(path.read_text().replace(str(moved / "old"), "../new"))
    monkeypatch.chdir(moved / "repo" / "deep")
    assert inside("ask", "x").code == 0
    shutil.move(moved / "repo", moved / "elsewhere")
    assert Repo(moved / "elsewhere").base().source == str(moved / "new")


def test_another_model_is_no_new_place(moved: Path) -> None:
    before = (moved / "repo" / ".editvc" / "config.toml").read_bytes()
    path = moved / "new" / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.ln_f.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BaseMismatchError, match="ln_f"):
        Repo(moved / "repo").move_base(str(moved / "new"))
    with pytest.raises(ModelNotFoundError):
        Repo(moved / "repo").move_base(str(moved / "nowhere"))
    assert (moved / "repo" / ".editvc" / "config.toml").read_bytes() == before


def test_one_process_goes_on_with_the_new_place(moved: Path) -> None:
    repo = Repo(moved / "repo")
    with pytest.raises(ModelNotFoundError):
        repo.ask("x")
    repo.move_base(str(moved / "new"))
    assert repo.ask("x") is not None and repo.base().source == str(moved / "new")
