"""Two clones and a remote between them, as users meet them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, loaded_after, written
from tiny_repos import ADA, FACTS, OTHERS, Prepared

BO = "Bo <bo@example.org>"


def at(folder: Path, *words: object) -> object:
    return inside("-C", folder, *words)


@pytest.fixture
def two(here: Path, prepared: Prepared) -> Path:
    """``here`` with a commit and a remote, and ``bo`` beside it, a clone over the same base."""
    inside("commit", written(here / "a.jsonl", FACTS[2:3]), "-m", "Start", "--author", ADA)
    assert inside("remote", "add", "origin", "../remote").code == 0
    pushed = inside("push")
    assert pushed.code == 0 and " * [new] main " in pushed.out, pushed.err
    ran = inside("clone", here.parent / "remote", here.parent / "bo", "--base", prepared.base)
    assert ran.code == 0 and "On branch main, at " in ran.out, ran.err
    return here.parent / "bo"


def test_a_story_of_two(two: Path, here: Path) -> None:
    assert inside("remote", "--json").json[0]["branches"] == 1
    assert "  origin/main " in inside("branch", "-r").out
    assert inside("branch", "-r", "name").code == 2
    inside("commit", written(here / "b.jsonl", FACTS[:2]), "-m", "Rome", "--author", ADA)
    planned = inside("push", "--dry-run", "--json").json
    assert planned["commits"] == 1
    assert inside("push", "--json").json == planned
    at(two, "commit", written(two / "c.jsonl", FACTS[3:4]), "-m", "French", "--author", BO)
    lost = at(two, "push")
    assert lost.code == 5 and "[rejected] branch 'main' (fetch first)" in lost.err
    assert "`editvc pull`" in lost.err
    assert at(two, "fetch", "--dry-run").code == 0
    pulled = at(two, "pull", "--author", BO)
    assert pulled.code == 0 and "Merge branch 'main' of origin" in pulled.out, pulled.err
    assert at(two, "push").code == 0
    assert "Fast-forward" in inside("pull").out
    trees = [at(folder, "log", "-n", "1", "--json").json[0]["tree"] for folder in (here, two)]
    assert trees[0] == trees[1]
    assert "Already up to date" in inside("fetch").out and "up to date" in inside("push").out
    assert inside("undo").code == 0 and inside("redo").code == 0
    assert inside("fsck").code == 0 and at(two, "fsck").code == 0


def test_the_weights_of_a_clone_are_those_of_the_original(two: Path, here: Path) -> None:
    for folder, name in ((here, "one"), (two, "other")):
        ran = at(folder, "export", "--format", "delta", "--to", here.parent / name, "--force")
        assert ran.code == 0, ran.err
    one, other = (here.parent / name for name in ("one", "other"))
    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert files and all((one / f).read_bytes() == (other / f).read_bytes() for f in files)


def test_another_base_makes_no_clone(
    two: Path, here: Path, tmp_path: Path, prepared: Prepared
) -> None:
    other = shutil.copytree(prepared.base, tmp_path / "other")
    config = (
        (other / "config.json")
        .read_text()
        .replace('"layer_norm_epsilon": 1e-05', '"layer_norm_epsilon": 1e-04')
    )
    (other / "config.json").write_text(config)
    ran = inside("clone", here.parent / "remote", tmp_path / "cy", "--base", other)
    assert ran.code == 1 and not (tmp_path / "cy").exists(), ran.err


def test_a_conflict_stops_a_pull(two: Path, here: Path) -> None:
    inside("commit", written(here / "b.jsonl", FACTS[:1]), "-m", "Rome", "--author", ADA)
    inside("push")
    at(two, "commit", written(two / "c.jsonl", OTHERS[:1]), "-m", "London", "--author", BO)
    stopped = at(two, "pull", "--author", BO)
    assert stopped.code == 1 and "theirs Rome" in stopped.out
    assert at(two, "pull").code == 1, "a merge waits"
    assert at(two, "merge", "--abort").code == 0
    assert at(two, "pull", "--theirs", "--author", BO).code == 0


def test_a_bundle_from_hand_to_hand(two: Path, here: Path) -> None:
    inside("commit", written(here / "b.jsonl", FACTS[:1]), "-m", "Rome", "--author", ADA)
    file = here.parent / "news.bundle"
    made = inside("bundle", "create", file, "main", "--without", "origin/main", "--json").json
    assert made["bytes"] == file.stat().st_size and len(made["needs"]) == 1
    assert "is sound" in at(two, "bundle", "verify", file).out
    at(two, "remote", "add", "stick", file)
    assert "stick/main" in at(two, "fetch", "stick").out
    assert at(two, "merge", "stick/main").code == 0
    file.write_bytes(file.read_bytes()[:-1])
    cut = at(two, "bundle", "verify", file)
    assert cut.code == 1 and "cut short" in cut.err


def test_one_of_two_processes_that_push_at_once_is_refused(two: Path, here: Path) -> None:
    inside("commit", written(here / "b.jsonl", FACTS[:1]), "-m", "Rome", "--author", ADA)
    at(two, "commit", written(two / "c.jsonl", FACTS[1:2]), "-m", "Paris", "--author", BO)
    if not SCRIPT.is_file():
        pytest.skip("the console script is not installed here")
    env = environment(here.parent / "home", EDITVC_SAFE_DIRECTORY="*")
    runs = [subprocess.Popen([SCRIPT, "push"], cwd=folder, env=env) for folder in (here, two)]
    assert sorted(run.wait(60) for run in runs) == [0, 5]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [("push none", 1, "no remote of that name"), ("fetch none", 1, "Remotes: origin"),
     ("push origin none", 1, "there is no branch 'none'"), ("push -d", 2, "--delete needs"),
     ("remote add origin x", 1, "already"), ("remote add a/b x", 1, "slash"),
     ("remote add x ftp://y", 1, "ftp://"), ("pull origin none", 1, "has no branch 'none'"),
     ("pull --rebase --ours", 2, "for merges"), ("bundle verify a.jsonl", 1, "is no bundle"),
     ("bundle create a.jsonl", 1, "no bundle"), ("clone ../no ../cy", 1, "nothing was pushed")],
)  # fmt: skip
def test_wrong_words(two: Path, words: str, code: int, told: str) -> None:
    ran = inside(*words.split())
    assert ran.code == code and told in ran.err, ran.err


@pytest.mark.parametrize("words", ["push", "fetch", "bundle create x.bundle"])
def test_what_moves_history_loads_no_tensors(two: Path, here: Path, words: str) -> None:
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        f"sys.argv = ['editvc', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    heavy = {"torch", "transformers", "numpy", "huggingface_hub", "s3fs", "paramiko"}
    assert not loaded_after(code, here) & heavy


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen")
def test_a_clone_verifies_signatures_and_has_tags(here: Path, prepared: Prepared) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", here / "key"]
    subprocess.run(words, check=True)
    signers = here.parent / "signers"
    signers.write_text(f"ada@example.org {(here / 'key.pub').read_text()}", encoding="utf-8")
    inside("config", "user.signingkey", "key")
    for number, more in enumerate((["-S"], [])):
        file = written(here / "f.jsonl", FACTS[number : number + 1])
        assert inside("commit", file, "--author", ADA, *more).code == 0
    inside("tag", "v1", "HEAD~1")
    inside("remote", "add", "origin", "../remote")
    assert inside("push", "origin", "main", "v1").code == 0
    assert inside("gc", "--prune", "now").code == 0
    bo = here.parent / "bo"
    ran = inside("clone", here.parent / "remote", bo, "--base", prepared.base)
    assert ran.code == 0, ran.err
    assert at(bo, "config", "user.signingkey").out.strip() == "", "whose key it is stays there"
    at(bo, "config", "gpg.allowed_signers", signers)
    told = at(bo, "verify-commit", "--json", "v1", "main")
    assert [one["state"] for one in json.loads(told.out)] == ["good", "none"]
    assert at(bo, "verify-commit", "v1").code == 0 and at(bo, "verify-commit", "main").code == 1
    assert at(bo, "gc", "--prune", "now").code == 0 and at(bo, "fsck").code == 0
