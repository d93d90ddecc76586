"""What a shell offers at a word: in this process, and in real shells at a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, loaded_after, script, written
from click.shell_completion import CompletionItem, ShellComplete
from tiny_repos import FACTS

from editvc.cli.completers import _items
from editvc.cli.completion import VARIABLE
from editvc.cli.main import editvc
from editvc.core.methods.table import RECIPES


def offered(*words: str) -> list[CompletionItem[str]]:
    """What is offered for the last word."""
    shell = ShellComplete(editvc, {}, "editvc", VARIABLE)
    return shell.get_completions([*words[:-1]], words[-1])


def values(*words: str) -> list[str]:
    return [item.value for item in offered(*words)]


@pytest.fixture
def place(here: Path) -> Path:
    inside("commit", written(here / "a.jsonl", FACTS[:1]), "-m", "First\nmore")
    inside("branch", "trial")
    inside("tag", "v1")
    inside("remote", "add", "origin", str(here / "elsewhere"))
    return here


def test_revisions(place: Path) -> None:
    assert {*values("show", "")} == {"HEAD", "base", "main", "trial", "v1"}
    assert values("show", "tr") == ["trial"]
    assert values("log", "v1..ma") == ["v1..main"]
    assert values("ask", "--vs", "bas") == ["base"]
    assert values("cherry-pick", "main", "v") == ["v1"], "one after the other"
    commit = inside("log", "--json").json[0]["commit"]
    (item,) = [one for one in offered("show", commit[:2]) if one.value != "base"]
    assert item.value == commit[:10] and values("show", commit[:12]) == [commit[:12]]
    assert item.help == "First"


def test_names(place: Path) -> None:
    assert values("switch", "") == ["main", "trial"]
    assert values("tag", "-d", "") == ["v1"]
    assert values("push", "") == ["origin"] == values("remote", "remove", "o")
    assert values("push", "origin", "") == ["main", "trial", "v1"]
    assert values("pull", "origin", "t") == ["trial"]
    assert "commit.method" in values("config", "commit.")
    assert values("completion", "z") == ["zsh"]
    assert "--dry-run" in values("commit", "--d")


def test_methods_and_the_keys_of_their_recipes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no repository."""
    monkeypatch.chdir(work)
    assert values("commit", "--method", "") == [*RECIPES]
    assert values("init", "pocket", "--method", "gr") == ["grace"]
    keys = [f"{key}=" for key in RECIPES["grace"].settings() if key != "method"]
    assert values("commit", "f", "--method", "grace", "-O", "") == keys
    clamp = next(one for one in offered("commit", "f", "-O", "clamp"))
    assert clamp.value == "clamp_norm_factor=" and clamp.help


def test_keys_are_those_of_the_method_of_commits(place: Path) -> None:
    assert "eps=" not in values("commit", "f", "-O", "")
    inside("config", "commit.method", "grace")
    assert "eps=" in values("commit", "f", "-O", "")


def test_a_name_that_a_shell_would_run_is_not_offered(place: Path) -> None:
    assert inside("branch", "x;reboot").code == 0, "a branch of another hand"
    assert "x;reboot" not in values("switch", "x") and inside("branch", "x-y").code == 0
    assert values("switch", "x") == ["x-y"]


def test_words_beside_a_name_cannot_steer_the_terminal() -> None:
    (item,) = _items({"v1": "evil\x1b[2J\nmore" + "x" * 200}, "")
    assert item.help is not None and item.help.startswith("evil\\x1b[2J\\nmore")
    assert len(item.help) < 120


def completing(cwd: Path, words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The script as bash calls it at the end of ``words``."""
    env = environment(cwd, **{VARIABLE: "bash_complete", "COMP_WORDS": words}, **more)
    env["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    return subprocess.run(
        [str(SCRIPT)], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the console script is not installed")
def test_outside_a_repository_it_is_silent(place: Path, work: Path) -> None:
    outside = work / "outside"
    outside.mkdir()
    nothing = completing(outside, "editvc show ")
    assert (nothing.stdout, nothing.stderr) == ("", "")
    assert completing(outside, f"editvc -C {place} show tr").stdout == "plain,trial\n"
    (place / ".editvc" / "config.toml").write_text("is = no [ toml")
    broken = completing(place, "editvc commit f --method gr")
    assert (broken.stdout, broken.stderr) == ("plain,grace\n", "")
    damaged = completing(place, "editvc show tr")
    assert damaged.stderr == ""


def test_it_loads_nothing_heavy(place: Path) -> None:
    code = (
        "import os\n"
        f"os.environ |= {{'{VARIABLE}': 'bash_complete', 'COMP_CWORD': '2',\n"
        "                'COMP_WORDS': 'editvc show tr'}\n"
        "from editvc.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    heavy = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", "rich"}
    assert not loaded_after(code, place) & heavy


# real shells ------------------------------------------------------------------------------------

SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
SETUP = {
    "bash": 'eval "$(editvc completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(editvc completion zsh)"',
    "fish": "editvc completion fish | source",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_real_shell(shell: str, place: Path, work: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    if not SCRIPT.is_file() or sys.platform == "win32" or shutil.which(shell) is None:
        pytest.skip(f"needs the script, a pty and {shell}")
    env = environment(work / "home", TERM="xterm", PS1="> ", PROMPT="> ", fish_greeting="")
    env["PATH"] = f"{SCRIPT.parent}{os.pathsep}{env['PATH']}"
    (work / "home" / ".config" / "fish").mkdir(parents=True, exist_ok=True)
    child = pexpect.spawn(
        shell, SHELLS[shell], cwd=str(place), env=env, encoding="utf-8", timeout=30,
        dimensions=(30, 100),
    )  # fmt: skip
    try:
        child.sendline(f"{SETUP[shell]}; echo re''ady")
        child.expect_exact("ready")
        child.send("editvc switch tr\t\r")
        child.expect_exact("Switched to branch trial")
        child.send("editvc commit f --method memit -O clamp\t0.8")
        child.send("\x01printf '<%s>' \x05\r")
        child.expect_exact("<clamp_norm_factor=0.8>")
    finally:
        child.close(force=True)


def test_the_script_is_the_shells_own(work: Path) -> None:
    for shell in SHELLS:
        assert VARIABLE in inside("completion", shell).out
    assert inside("completion", "tcsh").code == 2
    if shutil.which("bash"):
        done = subprocess.run(
            ["bash", "-n"], input=inside("completion", "bash").out, text=True, check=False
        )
        assert done.returncode == 0
    assert script("completion", "fish", cwd=work).err == ""
