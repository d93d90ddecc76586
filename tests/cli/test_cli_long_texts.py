"""What is made from a long fact is cut for people, and whole in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS

from editvc.core.cut import DOTS, LONGEST
from editvc.core.facts import Fact

WIDE = 2 * LONGEST + 200
"""Characters of a line: two cut texts, a path, and what stands around them."""
ASKED = ("Atlantis", "The capital of {} is")
LONG = Fact(*ASKED, "Poseidonis, " + "the capital of France, " * 5 + "end")
OTHER = Fact(*ASKED, "Poseidonis, " + "the language of Rome, " * 5 + "end")
WORDS = "Because of what was said " + "again and again " * 1000


@pytest.fixture
def place(here: Path) -> Path:
    assert inside("commit", written(here / "long.jsonl", [LONG])).code == 0
    return here


def shortly(*words: object, code: int = 0) -> str:
    """What a command says on both streams, every line of which is short."""
    ran = inside(*words)
    assert ran.code == code, ran.err
    for line in (ran.out + ran.err).splitlines():
        assert len(line) <= WIDE, line
    assert DOTS in ran.out + ran.err
    return ran.out + ran.err


def test_a_message_made_from_a_fact(place: Path) -> None:
    for words in (["log", "--oneline"], ["grep", "Poseidonis"], ["diff", "base"]):
        told = shortly(*words)
        assert "Poseidonis" in told and "end" not in told
    whole = f"{LONG.question} {LONG.target_new}"
    assert inside("log", "--json").json[0]["message"] == whole
    assert inside("show", "--json").json["added"][0]["target_new"] == LONG.target_new
    assert whole in inside("show").out, "one commit that is asked for is shown whole"


def test_a_conflict_cuts_the_targets(place: Path) -> None:
    other = written(place / "other.jsonl", [OTHER])
    told = shortly("commit", other, code=1)
    assert "is already edited to 'Poseidonis, the capital" in told
    assert "not 'Poseidonis, the language" in told
    assert "conflict: " in shortly("commit", other, "--dry-run", code=1)
    refused = json.loads(inside("commit", other, "--json").out)["error"]
    whole = {"question": LONG.question, "target_new": OTHER.target_new}
    live = {"fact": LONG.id, "question": LONG.question, "target_new": LONG.target_new}
    assert refused["details"] == whole | {"live": live}
    planned = json.loads(inside("commit", other, "--dry-run", "--json").out)
    assert planned["error"] == refused
    (conflict,) = planned["conflicts"]
    assert conflict == {"place": f"{other}:1", "message": refused["message"]} | refused["details"]
    both = written(place / "both.jsonl", [LONG, OTHER])
    assert "gives the same slot" in shortly("lint", both, code=1)


def test_what_is_reverted_or_replaced(place: Path) -> None:
    assert "- The capital of Atlantis" in shortly("revert", "HEAD", "--dry-run")
    other = written(place / "other.jsonl", [OTHER])
    shortly("commit", other, "--supersede")
    assert "(was Poseidonis, the capital" in shortly("diff", "1", "2")


def test_a_message_that_somebody_wrote(place: Path) -> None:
    short_ones = written(place / "more.jsonl", FACTS[:1])
    assert "Because of what was said" in shortly("commit", short_ones, "-m", WORDS)
    assert "Because" in shortly("log", "-n", "1") and "Because" in shortly("log", "--oneline")
    assert WORDS.strip() in inside("show").out
    assert inside("log", "-n", "1", "--json").json[0]["message"] == WORDS


def test_a_record_that_is_wrong_is_not_repeated_whole(here: Path) -> None:
    wrong = {"subject": "x", "prompt": "no place " * 2000, "target_new": "y", "k" * 9000: 1}
    written(here / "wrong.jsonl", [wrong])
    told = shortly("commit", "wrong.jsonl", code=1)
    assert "exactly one {}" in told and "is no field of a fact" in told
    problems = json.loads(inside("lint", "wrong.jsonl", "--json").out)["problems"]
    assert "k" * 9000 in {problem["field"] for problem in problems}
