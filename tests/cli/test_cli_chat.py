"""``--chat-template``: facts and questions as a user's turn of the model's chat template."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli_runs import SCRIPT, clean, environment, inside, written
from tiny_models import TEXT
from tiny_repos import ADA, FRESH, NAMES, close, tiny_base
from tiny_tokenizers import CHATML
from transformers import AutoTokenizer

from editvc import Repo
from editvc.core.invisible import printable

BEFORE, AFTER = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def chatting(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository over a tiny model with a chat template, as the current directory."""
    base = tiny_base(work / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(base)
    text, names, folder = work / "text.txt", work / "names.txt", work / "here"
    text.write_text("\n\n".join(TEXT), encoding="utf-8")
    names.write_text("\n".join(NAMES), encoding="utf-8")
    repo = Repo.init(folder, str(base), layers=[1, 2], texts=[text], entities=names)
    repo.session.repository.set_config("recipe.v_num_grad_steps", "3")
    repo.session.repository.set_config("user.author", ADA)
    close(repo)
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(folder)
    return folder


def test_chat_facts_hold_the_template_and_stand_beside_plain_ones(chatting: Path) -> None:
    path = written(chatting / "facts.jsonl", FRESH)
    assert inside("commit", path, "--chat-template").code == 0
    made = inside("show", "--json").json
    assert {fact["prompt"] for fact in made["added"]} == {
        f"{BEFORE}{fact.prompt}{AFTER}" for fact in FRESH
    }
    assert "\n" not in made["message"]
    added = [line for line in inside("show").out.splitlines() if line.startswith("+ ")]
    assert sorted(line.rsplit(" -> ")[1] for line in added) == sorted(
        fact.target_new for fact in FRESH
    )
    again = inside("commit", path, "--chat-template")
    assert again.code == 1 and "is live already" in again.err
    assert inside("commit", path, "--json").json["live"] == 2 * len(FRESH)
    assert inside("squash", "--range", "1..2").code == 0, "contexts find their place again"
    assert inside("fsck").code == 0


def test_what_will_be_edited_is_shown_with_the_template(chatting: Path) -> None:
    path = written(chatting / "facts.jsonl", FRESH[:1])
    (fact,) = inside("commit", path, "--chat-template", "--dry-run", "--json").json["facts"]
    text = "".join(token["text"] for token in fact["tokens"])
    assert text == f"{BEFORE}{FRESH[0].question}{AFTER}{FRESH[0].target_new}"
    shown = inside("commit", path, "--chat-template", "--dry-run").out
    lines = [line for line in shown.splitlines() if "also changes" not in line]
    assert "\\n" in shown and len(lines) == 3


def test_asking_in_the_chat(chatting: Path) -> None:
    wrapped = inside("ask", f"{BEFORE}Where is Rome?{AFTER}", "--json").json["completion"]
    told = inside("ask", "Where is Rome?", "--chat-template", "--json").json
    assert (told["prompt"], told["completion"]) == ("Where is Rome?", wrapped)
    said = inside("ask", "Where is Rome?", "--chat-template").out
    assert said == f"Where is Rome? {printable(wrapped)}\n"


def test_raw_is_the_plain_prompt_which_one_prompt_is_by_default(chatting: Path) -> None:
    plain = inside("ask", "Where is Rome?", "--json").json
    assert inside("ask", "Where is Rome?", "--raw", "--json").json == plain
    assert plain != inside("ask", "Where is Rome?", "--chat-template", "--json").json


def test_a_chat_is_for_a_terminal(chatting: Path) -> None:
    for words in ([], ["--json"], ["--vs", "base"]):
        ran = inside("ask", *words, stdin=b"Where is Rome?\n")
        assert ran.code == 2 and "Missing argument 'PROMPT'" in ran.out + ran.err


def test_a_chat_answers_in_the_template_and_remembers(chatting: Path, work: Path) -> None:
    def said(prompt: str) -> str:
        return inside("ask", prompt, "-n", "4", "--json").json["completion"]

    first = said(f"{BEFORE}Where is Rome?{AFTER}")
    earlier = f"{BEFORE}Where is Rome?{AFTER}{first.strip()}<|im_end|>\n"
    second = said(f"{earlier}{BEFORE}And London?{AFTER}")
    lines = ["Where is Rome?", "And London?", "/clear", "", "Where is Rome?", "the " * 500, "/bye"]
    shown = chat(chatting, work, lines, "-n", "4")
    assert "Chat with HEAD in its chat template" in shown
    answers = [part.split("\r\n", 1)[1].strip() for part in shown.split("> ")[1:-1]]
    assert answers[:2] == [printable(first.strip()), printable(second.strip())]
    assert answers[2:5] == ["", "", printable(first.strip())]
    assert "the prompt has" in answers[5] and "/clear begins anew" in answers[5]


def test_a_raw_chat_goes_on_with_each_line(chatting: Path, work: Path) -> None:
    alone = inside("ask", "Where is Rome?", "-n", "4", "--json").json["completion"]
    shown = chat(chatting, work, ["Where is Rome?", "Where is Rome?", "/bye"], "-n", "4", "--raw")
    assert shown.count(f"\nWhere is Rome?{printable(alone)}") == 2


def test_a_chat_with_a_model_without_a_template_is_plain(here: Path, work: Path) -> None:
    assert "Chat with HEAD in plain text" in chat(here, work, ["/bye"])


def chat(folder: Path, work: Path, lines: list[str], *options: str) -> str:
    """What a terminal shows of a chat.

    Not by ``pexpect.spawn``: it forks in Python, which may hang where torch has threads.
    """
    fdpexpect = pytest.importorskip("pexpect.fdpexpect")
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [str(SCRIPT), "ask", *options]
    env = environment(work / "home", TERM="dumb", COLUMNS="4000")
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    asking = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **streams)
    try:
        os.close(theirs)
        child = fdpexpect.fdspawn(ours, encoding="utf-8", timeout=120)
        shown = ""
        for line in lines:
            child.expect_exact("> ")
            shown += child.before + child.after
            child.sendline(line)
        shown += child.read()
        asking.wait(120)
    finally:
        asking.kill()  # one that still waits for a line would be waited for without end
        asking.wait()
    child.close()
    assert asking.returncode == 0, shown
    return shown


def test_a_model_without_a_chat_template(here: Path) -> None:
    for words in (["commit", written(here / "facts.jsonl", FRESH)], ["ask", "Where is Rome?"]):
        ran = inside(*words, "--chat-template")
        assert (ran.code, ran.out) == (1, "")
        assert "no chat template" in ran.err and "hint: " in ran.err
    assert inside("status", "--json").json["commit"] is None
