"""The installed script, in processes of its own: an empty home, a bare environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, poisoned, record, script, written
from hub_server import Hub
from tiny_repos import FACTS, FRESH, Prepared, close, opened

from editvc import __version__
from editvc.interchange.delta_file import DELTA

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the console script is not installed")


def test_a_story_from_nothing(prepared: Prepared, work: Path) -> None:
    """init, commit from stdin, ask: stdout has the data alone, whatever the libraries say."""
    place = work / "place"
    place.mkdir()
    made = script("init", prepared.base, "--layers", "1,2", "--entities", prepared.names, cwd=place)
    assert made.code == 0, made.err
    assert made.out.splitlines()[0] == f"Initialized empty editvc repository in {place}/.editvc"
    assert "default from bundled text" in made.err, "what was chosen is said, on stderr"
    assert script("config", "recipe.v_num_grad_steps", "2", cwd=place).code == 0
    lines = json.dumps(record(FRESH[0]))
    done = script("commit", "-", "-m", "First", "--json", cwd=place, stdin=lines)
    assert (done.json["number"], done.json["live"], done.err) == (1, 1, "")
    said = script("ask", FRESH[0].question, "--json", cwd=place)
    assert said.json["prompt"] == FRESH[0].question and said.err == ""
    assert [path.name for path in place.iterdir()] == [".editvc"], "nothing beside it"
    log = script("log", "--json", cwd=place / ".editvc").json
    assert log[0]["author"] == "carol <>", "the login name, where nobody has another"


def test_the_delta_of_a_commit_is_exported_without_torch(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS))
    made = inside("export", "--format", "delta", "--to", "one", "--json").json
    env = environment(work / "home", PYTHONPATH=poisoned(work / "poison", "torch", "transformers"))
    again = script("export", "--format", "delta", "--to", "two", "--json", cwd=here, env=env)
    assert again.json | {"path": made["path"]} == made
    assert (here / "one" / DELTA).read_bytes() == (here / "two" / DELTA).read_bytes()
    assert script("export", "base", "--format", "delta", "--to", "three", cwd=here, env=env).code, (
        "what no commit left is solved, and that needs torch"
    )


def test_publishing_over_the_real_client(here: Path, work: Path, hub: Hub) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS))
    env = environment(
        work / "home", HF_ENDPOINT=hub.url, HF_TOKEN="hf_alice", HF_HUB_DISABLE_XET="1"
    )
    done = script("publish", "alice/tiny", "--force", "--private", "-m", "Capitals", "--json",
                  cwd=here, env=env)  # fmt: skip
    assert done.json.keys() == {"url", "commit", "digest", "overridden", "warnings", "bundle"}
    remote = hub.repositories["alice/tiny"]
    assert remote.private and remote.messages[done.json["commit"]] == "Capitals"
    assert {"README.md", "editvc.lock.json", "editvc.ledger.jsonl", "model.safetensors"} <= (
        remote.head.keys()
    )
    assert not any(path.name.startswith(".cache") for path in here.iterdir())


def test_help_and_version_in_a_bare_environment(work: Path) -> None:
    bare = {"PATH": "/nowhere"}
    shown = script("--help", cwd=work, env=bare)
    assert shown.code == 0 and shown.err == ""
    commands = [
        "init", "arch", "lint", "convert", "commit", "methods", "train", "import", "ask", "eval",
        "log", "show", "status", "diff", "grep", "query", "reflog", "shortlog", "notes", "blame",
        "bisect", "revert", "undo", "redo", "restore", "expire", "squash", "compact", "health",
        "report", "trace", "tune", "sequence", "export", "serve", "publish", "branch", "switch",
        "tag", "merge", "resolve", "cherry-pick", "rebase", "reset", "remote", "clone", "fetch",
        "push", "pull", "bundle", "stats", "fsck", "gc", "reindex", "verify", "verify-commit",
        "rebuild", "audit", "config", "base", "completion",
    ]  # fmt: skip
    section = shown.out.split("Commands:\n")[1].split("\n\n")[0]
    listed = [line.split()[0] for line in section.splitlines()]
    assert listed == commands
    assert script("--version", cwd=work, env=bare).out == f"editvc, version {__version__}\n"
    assert script("status", cwd=work, env=bare).code == 1


def test_a_reader_that_goes_away(here: Path, work: Path) -> None:
    """`editvc log | head -1` is no error, and says nothing."""
    facts = written(here / "f.jsonl", FACTS)
    for number in range(60):
        what = ["revert", "HEAD"] if number % 2 else ["commit", facts]
        assert inside(*what, "-m", "x" * 3000).code == 0
    reading = subprocess.Popen(
        [str(SCRIPT), "log"], cwd=here, env=environment(work / "home"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert reading.stdout is not None and reading.stderr is not None
    reading.stdout.readline()
    reading.stdout.close()
    complaint = reading.stderr.read()
    reading.stderr.close()
    assert (reading.wait(), complaint) == (0, b"")


@pytest.mark.parametrize("words", [["--help"], ["log", "--help"], ["methods"]])
def test_a_reader_that_never_came(words: list[str], work: Path) -> None:
    """`editvc --help | true` ended with 1, as click has it."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [str(SCRIPT), *words], cwd=work, env=environment(work), stdout=writing,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


# authors --------------------------------------------------------------------------------------


def author(here: Path, *more: str) -> str:
    """Who is written down by one further commit."""
    live = inside("status", "--json").json["live"]
    what = ["revert", "HEAD"] if live else ["commit", str(written(here / "f.jsonl", FACTS[:1]))]
    assert inside(*what, *more).code == 0
    return str(inside("log", "--json").json[0]["author"])


def test_who_commits(here: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--author, EDITVC_AUTHOR, config user.author, git's user, the login name: in this order."""
    assert author(here) == "carol <>"
    if shutil.which("git"):
        gitconfig = work / "home" / ".gitconfig"
        gitconfig.write_text("[user]\n\tname = Git Ümlaut\n\temail = git@example.org\n", "utf-8")
        assert author(here) == "Git Ümlaut <git@example.org>"
        gitconfig.write_text("[user]\n\temail = git@example.org\n")
        assert author(here) == "carol <>", "a mail alone is nobody's name"
    inside("config", "user.author", "Config <config@example.org>")
    assert author(here) == "Config <config@example.org>"
    monkeypatch.setenv("EDITVC_AUTHOR", "Env <env@example.org>")
    assert author(here) == "Env <env@example.org>"
    assert author(here, "--author", "Option <o@example.org>") == "Option <o@example.org>"
    monkeypatch.setenv("EDITVC_AUTHOR", "  ")
    assert author(here) == "Config <config@example.org>", "blank is not set"


def test_the_library_reads_no_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITVC_AUTHOR", "Env <env@example.org>")
    repo = opened(here)
    repo.session.repository.set_config("user.author", "")
    repo.commit(FACTS[:1])
    assert repo.log()[0].author == "nobody <>"
    close(repo)


def test_no_git_no_login(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LOGNAME")
    assert author(here).endswith(" <>")
    assert os.environ["PATH"] == "/nowhere"
