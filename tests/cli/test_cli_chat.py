"""``--chat-template``: facts and questions as a user's turn of the model's chat template."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import clean, inside, written
from tiny_models import TEXT
from tiny_repos import ADA, FRESH, NAMES, close, tiny_base
from tiny_tokenizers import CHATML
from transformers import AutoTokenizer

from editvc import Repo

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
    assert "\\n" in shown and len(shown.splitlines()) == 3


def test_asking_in_the_chat(chatting: Path) -> None:
    wrapped = inside("ask", f"{BEFORE}Where is Rome?{AFTER}", "--json").json["completion"]
    told = inside("ask", "Where is Rome?", "--chat-template", "--json").json
    assert (told["prompt"], told["completion"]) == ("Where is Rome?", wrapped)
    said = inside("ask", "Where is Rome?", "--chat-template").out
    assert said == f"Where is Rome? {wrapped}\n"


def test_a_model_without_a_chat_template(here: Path) -> None:
    for words in (["commit", written(here / "facts.jsonl", FRESH)], ["ask", "Where is Rome?"]):
        ran = inside(*words, "--chat-template")
        assert (ran.code, ran.out) == (1, "")
        assert "no chat template" in ran.err and "hint: " in ran.err
    assert inside("status", "--json").json["commit"] is None
