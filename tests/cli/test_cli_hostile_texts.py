"""Texts that obey nobody: what a repository of other hands holds cannot steer a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import clean, inside
from tiny_repos import Prepared, close, tree

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.invisible import in_one_line, printable
from editvc.session.session import Session

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b1A\u202egnp\u2066\b"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f]")


@pytest.fixture
def hostile(prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """A repository whose texts are as another tool may have written them."""
    clean(monkeypatch, work / "home")
    repo = prepared.copy(work)
    with monkeypatch.context() as others:
        others.setattr("editvc.core.invisible.unseen", lambda text: None)
        others.setattr(Session, "author", lambda self, name=None: name)
        fact = Fact(
            f"France{EVIL}", "The capital of {} is", f"Rome{EVIL}", target_true=f"Paris{EVIL}"
        )
        repo.commit([fact], message=f"Evil{EVIL}\nand more", author=f"Eve{EVIL}")
    monkeypatch.chdir(work)
    yield repo
    close(repo)


LOOKS = (
    "log", "log --oneline", "show", "diff base HEAD", "grep france", "status", "branch", "tag",
    "eval", "query 'SELECT subject FROM facts'", "fsck", "health", "reflog", "undo --dry-run",
)  # fmt: skip


@pytest.mark.parametrize("words", LOOKS)
def test_nothing_steers_the_terminal(hostile: Repo, words: str) -> None:
    shown = inside(*(part.strip("'") for part in re.findall(r"'[^']*'|\S+", words)))
    assert shown.code in (0, 1), shown.err
    assert CONTROL.search(shown.out + shown.err) is None, ascii(shown.out + shown.err)


def test_printable_spells_out_what_a_terminal_obeys() -> None:
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("\x1b[2J\r\x07") == "\\x1b[2J\\r\\x07"
    assert printable("\u202e\u2028") == "\\u202e\\u2028"
    assert in_one_line("Ada\n| Eve\x85\u2029") == "Ada\\n| Eve\\x85\\u2029"
    assert printable("👩\u200d🔬 हिन्\u200dदी") == "👩\u200d🔬 हिन्\u200dदी", (
        "a part of how it is written"
    )


@pytest.mark.parametrize("author", ["  ", "Ada\nEve", "x" * 201, "Ada\u2028Eve"])
def test_an_author_is_one_line(hostile: Repo, author: str) -> None:
    before = tree(hostile)
    refused = inside("revert", "HEAD", "--author", author)
    assert refused.code in (1, 2) and "author" in refused.err
    assert tree(hostile) == before
