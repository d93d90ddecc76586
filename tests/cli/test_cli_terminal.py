"""On a terminal: a progress bar on stderr, a pager for long logs, colours; none of it in a pipe."""

from __future__ import annotations

import io
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, script, written
from tiny_repos import FACTS, FRESH

from editvc.cli.output import progress

pexpect = pytest.importorskip("pexpect")

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file() or sys.platform == "win32", reason="needs the script and a pty"
)


def on_terminal(
    here: Path, home: Path, *words: str, width: int = 100, **more: str
) -> tuple[str, int]:
    """What a terminal shows of a command, and its exit code."""
    env = environment(home, **{"TERM": "xterm-256color"} | more)
    child = pexpect.spawn(
        str(SCRIPT), list(words), cwd=str(here), env=env, encoding="utf-8", timeout=120,
        dimensions=(30, width),
    )  # fmt: skip
    shown = child.read()
    child.close()
    return shown, child.exitstatus


def test_progress_is_drawn_and_taken_away(here: Path, work: Path) -> None:
    inside("config", "recipe.v_num_grad_steps", "3")
    path = written(here / "facts.jsonl", FRESH)
    shown, code = on_terminal(here, work / "home", "commit", str(path), "-m", "Two")
    assert code == 0, shown
    assert "2/2" in shown and "━" in shown, "how much of how much, as a bar"
    assert "\x1b[2K" in shown or "\x1b[1A" in shown, "and wiped off again"
    tail = shown.rsplit("\x1b[2K", 1)[-1]
    assert "2 edits changed, 2 live" in tail and "━" not in tail


def test_the_subjects_of_questions_are_asked_for(here: Path, work: Path) -> None:
    inside("config", "recipe.v_num_grad_steps", "1")
    path = written(
        here / "questions.jsonl",
        [
            {"question": "Who worked with Charles Babbage?", "answer": "Proust"},
            {"question": "Did Ada Lovelace know Marie Curie?", "answer": "Rome"},
            {"question": "what is the old town?", "answer": "London"},
        ],
    )
    child = pexpect.spawn(
        str(SCRIPT), ["commit", str(path), "--json"], cwd=str(here), encoding="utf-8", timeout=120,
        env=environment(work / "home", TERM="dumb"), dimensions=(30, 100),
    )  # fmt: skip
    child.expect_exact("Charles Babbage]: ")
    child.sendline("")
    child.expect_exact("may be about 'Ada Lovelace', 'Marie Curie'")
    child.expect_exact("Ada Lovelace]: ")
    child.sendline("Grace")
    child.expect_exact("must stand in the question")
    child.sendline("Marie Curie")
    child.expect_exact("subject: ")
    child.sendline("the old town")
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown
    subjects = {fact["subject"] for fact in inside("show", "--json").json["added"]}
    assert subjects == {"Charles Babbage", "Marie Curie", "the old town"}


def test_nobody_is_asked_where_a_record_is_wrong_anyway(here: Path, work: Path) -> None:
    asked = {"question": "Who worked with Charles Babbage?", "answer": "Proust"}
    path = written(here / "questions.jsonl", [asked, asked | {"answer": 3}])
    shown, code = on_terminal(here, work / "home", "commit", str(path))
    assert code == 1 and ":2: record 2: field 'answer'" in shown and "]:" not in shown


def test_a_log_goes_through_the_pager(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS), "-m", "Six facts")
    pager = work / "pager"
    pager.write_text("#!/bin/sh\nsed 's/^/paged: /'\n")
    pager.chmod(0o755)
    shown, code = on_terminal(here, work / "home", "log", "--oneline", PAGER=str(pager))
    assert code == 0
    assert shown.startswith("paged: * ") and "(HEAD -> main) 1 Six facts" in shown
    shown, code = on_terminal(here, work / "home", "log", "--json", PAGER=str(pager))
    assert "paged: " not in shown, "data is not paged"
    piped = script("log", "--oneline", cwd=here, env=environment(work / "home", PAGER=str(pager)))
    assert piped.out.startswith("* ") and piped.err == ""


def test_colours_are_for_terminals(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:1]))
    shown, _ = on_terminal(here, work / "home", "show")
    assert "\x1b[32m+ " in shown
    shown, code = on_terminal(here, work / "home", "show", "elsewhere")
    assert code == 1 and "\x1b[31merror:\x1b[0m" in shown and "\x1b[36mhint:\x1b[0m" in shown
    piped = script("show", cwd=here, env=environment(work / "home"))
    assert "+ " in piped.out and "\x1b" not in piped.out


SAYS_NO = {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}


@pytest.mark.parametrize("said", SAYS_NO, ids=" ".join)
def test_a_terminal_without_colours(here: Path, work: Path, said: dict[str, str]) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:1]))
    for words in (["show"], ["show", "elsewhere"]):
        shown, _ = on_terminal(here, work / "home", *words, PAGER="cat", **said)
        assert shown and "\x1b" not in shown, words


def test_colours_where_they_are_forced(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:1]))
    env = environment(work / "home", FORCE_COLOR="1")
    assert "\x1b[32m+ " in script("show", cwd=here, env=env).out
    refused = script("show", "elsewhere", cwd=here, env=env | {"TERM": "dumb"})
    assert refused.err.startswith("\x1b[31merror:\x1b[0m"), "it comes before TERM, as in Python"
    json = script("show", "--json", cwd=here, env=env)
    assert "\x1b" not in json.out
    empty = script("show", cwd=here, env=env | {"FORCE_COLOR": "", "NO_COLOR": ""})
    assert "\x1b" not in empty.out, "an empty variable says nothing"


class Screen(io.StringIO):
    """Standard error on a terminal."""

    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What the progress of some work leaves on a terminal, with all that was wiped off again."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with progress() as report:
        for done in range(1, 4):
            report("targets of a long name", done, 3)
    return screen.getvalue()


def test_the_bar_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, COLUMNS="40", TERM="xterm", NO_COLOR="1")
    lines = re.split(r"\x1b\[2K|[\r\n]", re.sub(r"\x1b\[[0-9;?]*[mlhA]", "", shown))
    assert "3/3" in shown and "\x1b[3" not in shown, "NO_COLOR takes colours, and no more"
    assert 20 < max(map(len, lines)) <= 40, lines


def test_a_dumb_terminal_gets_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, TERM="dumb", EDITVC_PROGRESS_DELAY="0")
    assert shown.splitlines()[0] == "targets of a long name: 1 of 3" and "\x1b" not in shown


def test_a_narrow_terminal(here: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of a table, a plot or a help text is broken by the terminal."""
    inside("commit", written(here / "a.jsonl", FACTS[:2]))
    inside("commit", written(here / "b.jsonl", FACTS[2:4]))
    query = "SELECT subject, target_new, prompt, 'x' || hex(zeroblob(99)) AS digits FROM live"
    for words in (["methods"], ["query", query], ["log", "--help"]):
        shown, code = on_terminal(here, work / "home", *words, width=40)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert code == 0 and max(map(len, lines)) <= 40, words
    assert "0" * 198 in inside("query", query).out, "a pipe gets all of it"
    for module in ("output", "terminal"):
        monkeypatch.setattr(f"editvc.cli.{module}.columns", lambda: 40)
    shown = inside("health").out
    table, plot = shown.split("|delta|")[0].splitlines(), shown.split("verdict")[0].splitlines()
    assert max(map(len, table)) <= 40 and max(len(one) for one in plot if "│" in one) <= 40
    names = ("norm_growth", "distance", "leak", "capacity", "kept")
    assert all(name in shown for name in names), "in blocks, and none is lost"


def test_pagers_as_git_has_them(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:1]), "-m", "One fact")
    home = work / "home"

    def pager(name: str) -> str:
        file = work / name
        file.write_text(f"#!/bin/sh\necho {name} LESS=$LESS LV=$LV; cat\n")
        file.chmod(0o755)
        return str(file)

    shown, _ = on_terminal(here, home, "log", PAGER=pager("theirs"))
    assert "theirs LESS=-FRX LV=-c" in shown and "One fact" in shown
    shown, _ = on_terminal(here, home, "log", PAGER=pager("x"), EDITVC_PAGER=pager("ours"))
    assert "ours LESS" in shown
    shown, _ = on_terminal(here, home, "log", PAGER=pager("y"), LESS="-i", LV="")
    assert "y LESS=-i LV=" in shown, "what the user has set stays"
    for nothing in ("cat", "", "cat "):
        shown, _ = on_terminal(here, home, "log", EDITVC_PAGER=nothing, PAGER=pager("z"))
        assert "LESS" not in shown and "\x1b[33mcommit" in shown, "colours, and no pager"
    shown, code = on_terminal(here, home, "log", PAGER="less 'broken")
    assert code == 2 and "PAGER" in shown and "Traceback" not in shown
    shown, code = on_terminal(here, home, "log", PAGER="/bin/false")
    assert code == 0 and "Traceback" not in shown, "a pager that goes away is no error"


@pytest.mark.skipif(shutil.which("less") is None, reason="needs less")
def test_less_keeps_colours_and_ends_where_all_fits(here: Path, work: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:1]), "-m", "One fact")
    shown, code = on_terminal(here, work / "home", "log")
    assert code == 0 and "\x1b[33mcommit" in shown and "One fact" in shown
    assert "\x1b[?1049h" not in shown, "what was on the screen stays"


def test_quiet_work_draws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editvc.cli.output.is_quiet", lambda: True)
    assert drawn(monkeypatch, TERM="xterm") == ""


def test_quiet(here: Path) -> None:
    """Neither progress nor remarks nor a report; what was asked for, warnings and errors stay."""
    inside("config", "recipe.v_num_grad_steps", "1")
    path = str(written(here / "facts.jsonl", FRESH))
    done = inside("commit", path, "-q")
    assert (done.code, done.out) == (0, "")
    assert all(line.startswith("warning:") for line in done.err.splitlines()), done.err
    for words in (["branch", "side"], ["switch", "side"], ["branch", "-d", "main"], ["undo"],
                  ["gc"], ["notes", "add", "-m", "x"], ["revert", "HEAD"],
                  ["export", "--to", "out", "--format", "delta"]):  # fmt: skip
        done = inside(*words, "--quiet")
        assert (done.code, done.out, done.err) == (0, "", ""), words
    assert inside("-q", "reset", "HEAD~1").out == "", "before the command as well"
    assert "would" in inside("reset", "HEAD", "--dry-run", "-q").out, "that was asked for"
    assert inside("status", "-q").out and inside("log", "-q").out
    assert inside("status", "--json", "-q").json["number"] == 1
    refused = inside("show", "elsewhere", "-q")
    assert refused.code == 1 and "error: " in refused.err and "hint: " in refused.err


def test_interrupting_a_commit_leaves_the_repository_as_it_was(here: Path, work: Path) -> None:
    inside("config", "recipe.v_num_grad_steps", "100000")
    inside("config", "recipe.v_loss_threshold", "0")
    path = written(here / "facts.jsonl", FRESH)
    child = pexpect.spawn(
        str(SCRIPT), ["commit", str(path)], cwd=str(here), encoding="utf-8", timeout=120,
        env=environment(work / "home", TERM="xterm-256color"), dimensions=(30, 100),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip  # a shell's background, where tests may run, has the signal ignored
    child.expect("0/")
    child.sendintr()
    shown = child.read()
    child.close()
    assert child.exitstatus == 130 and "interrupted" in shown
    assert "Traceback" not in shown
    assert inside("status", "--json").json["commit"] is None
    assert inside("fsck").code == 0
