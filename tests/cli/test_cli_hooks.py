"""Hooks: who hears of what, who may refuse, and that nobody else's code is run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from cli_runs import Ran, inside, written
from tiny_repos import ADA, FACTS, opened

TEMPLATE = Path(__file__).resolve().parents[2] / ".editvc-template" / "hooks"


def hook(here: Path, name: str, code: str) -> Path:
    """A hook in Python that has the document as ``about``."""
    path = here / ".editvc" / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nabout = json.load(sys.stdin)\n{code}\n"
    )
    path.chmod(0o755)
    return path


def commit(here: Path, number: int, *words: str) -> Ran:
    file = written(here / "f.jsonl", FACTS[number : number + 1])
    return inside("commit", file, "-m", f"No. {number}", "--author", ADA, *words)


SAVE = "json.dump(about, open(about['hook'] + '.json', 'w')); print('to nobody')"


def test_both_hooks_of_a_commit_get_its_document(here: Path) -> None:
    hook(here, "pre-commit", SAVE)
    hook(here, "post-commit", SAVE)
    done = commit(here, 0, "--json").json
    pre, post = (
        json.loads((here / f"{name}.json").read_text()) for name in ("pre-commit", "post-commit")
    )
    assert pre.pop("hook") == "pre-commit" and post.pop("hook") == "post-commit"
    assert pre == post
    assert (pre["commit"], pre["parent"], pre["verb"]) == (done["commit"], None, "commit")
    assert (pre["branch"], pre["author"], pre["message"]) == ("refs/heads/main", ADA, "No. 0")
    assert [fact["fact"] for fact in pre["added"]] == [FACTS[0].id] and pre["removed"] == []
    assert pre["health"].keys() >= {"drift", "delta_norm"}


def test_a_hook_before_refuses_and_nothing_moves(here: Path) -> None:
    commit(here, 0)
    hook(here, "pre-commit", "sys.exit('not \\x1b[31mtoday')")
    for words in (["revert", "HEAD"], ["compact", "--rank", "1"], ["squash", "--range", "1..1"]):
        ran = inside(*words)
        assert ran.code == 4, (words, ran.err)
        assert "the hook pre-commit refuses: not " in ran.err and "\x1b[31mtoday" not in ran.err
        assert inside("status", "--json").json["number"] == 1
    assert commit(here, 1).code == 4
    assert commit(here, 1, "--no-verify").code == 0
    assert inside("fsck").code == 0


def test_a_hook_after_cannot_refuse(here: Path) -> None:
    hook(here, "post-commit", "sys.exit(3)")
    ran = commit(here, 0)
    assert ran.code == 0 and "the hook post-commit ended with 3" in ran.err


def test_a_dry_run_asks_nobody(here: Path) -> None:
    hook(here, "pre-commit", SAVE)
    assert commit(here, 0, "--dry-run").code == 0
    assert not (here / "pre-commit.json").exists()


def test_what_cannot_be_run_refuses_and_what_is_not_executable_is_no_hook(here: Path) -> None:
    path = hook(here, "pre-commit", "")
    path.write_bytes(b"\x00no program")
    ran = commit(here, 0)
    assert ran.code == 4 and "it cannot be run" in ran.err
    path.chmod(0o644)
    assert commit(here, 0).code == 0


def test_another_users_hook_is_not_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook(here, "pre-commit", "sys.exit('no')")
    os.chown(here / ".editvc/hooks/pre-commit", 12345, -1) if os.geteuid() == 0 else None
    if os.geteuid() != 0:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    ran = commit(here, 0)
    assert ran.code == 0 and "is another user's, and was not run" in ran.err


def test_the_library_runs_none_without_a_runner(here: Path) -> None:
    hook(here, "pre-commit", SAVE + "\nsys.exit('no')")
    repo = opened(here)
    repo.commit(FACTS[:1])
    assert repo.status().number == 1 and not (here / "pre-commit.json").exists()


def test_publish_asks_before_anything_is_pushed(here: Path) -> None:
    commit(here, 0)
    hook(here, "pre-publish", SAVE + "\nsys.exit('closed')")
    ran = inside("publish", "ada/model", "--force")
    assert ran.code == 4 and "the hook pre-publish refuses: closed" in ran.err
    about = json.loads((here / "pre-publish.json").read_text())
    assert about.keys() == {"hook", "repository", "commit", "format", "verdict", "reasons"}


def test_the_samples_do_what_they_say(here: Path) -> None:
    names = sorted(path.name for path in TEMPLATE.iterdir())
    assert names == ["post-commit.sample", "pre-commit.sample", "pre-publish.sample"]
    for sample in TEMPLATE.iterdir():
        path = hook(here, sample.stem, "")
        path.write_text(f"#!{sys.executable}\n" + sample.read_text())
    assert sorted(path.stem for path in TEMPLATE.iterdir()) == [
        "post-commit",
        "pre-commit",
        "pre-publish",
    ]
    ran = commit(here, 0)
    assert ran.code == 4 and "no source is named for: France" in ran.err
    (here / ".editvc/hooks/pre-commit").unlink()
    assert commit(here, 0).code == 0
    assert f"commit\t{ADA}" in (here / "commits.log").read_text()


def test_a_merge_is_asked_and_told_as_a_commit_is(here: Path) -> None:
    commit(here, 0)
    inside("branch", "side")
    commit(here, 1)
    inside("switch", "side")
    commit(here, 2)
    before = inside("status", "--json").json["commit"]
    hook(here, "pre-commit", "sys.exit('not today')")
    assert inside("merge", "main").code == 4
    assert inside("status", "--json").json["commit"] == before
    hook(here, "post-commit", SAVE)
    done = inside("merge", "main", "--no-verify")
    assert done.code == 0
    told = json.loads((here / "post-commit.json").read_text())
    assert (told["verb"], told["parent"], told["live"]) == ("merge", before, 3)
    assert [fact["fact"] for fact in told["added"]] == [FACTS[1].id]
