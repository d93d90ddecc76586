"""On a terminal: a progress bar on stderr, a pager for long logs, colours; none of it in a pipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, script, written
from tiny_repos import FACTS, FRESH

pexpect = pytest.importorskip("pexpect")

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file() or sys.platform == "win32", reason="needs the script and a pty"
)


def on_terminal(here: Path, home: Path, *words: str, **more: str) -> tuple[str, int]:
    """What a terminal shows of a command, and its exit code."""
    env = environment(home, TERM="xterm-256color", COLUMNS="100", **more)
    child = pexpect.spawn(
        str(SCRIPT), list(words), cwd=str(here), env=env, encoding="utf-8", timeout=120,
        dimensions=(30, 100),
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


def test_interrupting_a_commit_leaves_the_repository_as_it_was(here: Path, work: Path) -> None:
    inside("config", "recipe.v_num_grad_steps", "100000")
    inside("config", "recipe.v_loss_threshold", "0")
    path = written(here / "facts.jsonl", FRESH)
    child = pexpect.spawn(
        str(SCRIPT), ["commit", str(path)], cwd=str(here), encoding="utf-8", timeout=120,
        env=environment(work / "home", TERM="xterm-256color"), dimensions=(30, 100),
    )  # fmt: skip
    child.expect("0/")
    child.sendintr()
    shown = child.read()
    child.close()
    assert child.exitstatus == 130 and "interrupted" in shown
    assert "Traceback" not in shown
    assert inside("status", "--json").json["commit"] is None
    assert inside("fsck").code == 0
