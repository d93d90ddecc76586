"""``editvc grep``: what a user looks for, how it is shown, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import ADA, FACTS, FRESH, OTHERS, opened

from editvc.core.facts import Fact
from editvc.core.ids import short


@pytest.fixture
def history(here: Path) -> Path:
    """Five facts; then London in Rome's place, São Paulo reverted; the sixth on a side branch."""
    inside("commit", written(here / "a.jsonl", FACTS[:5]), "-m", "Five facts", "--author", ADA)
    inside("branch", "side")
    inside("commit", written(here / "b.jsonl", OTHERS[:1]), "--supersede", "-m", "London it is")
    inside("revert", FACTS[4].id, "-m", "No São Paulo\n\nIt was wrong.")
    inside("switch", "side")
    inside("commit", written(here / "c.jsonl", FACTS[5:]), "-m", "東京 on the side")
    inside("switch", "main")
    return here


def commit(revision: str) -> str:
    return str(inside("show", revision, "--json").json["commit"])


def found(*words: object) -> set[str]:
    """The facts that a search finds, by id."""
    return {fact["fact"] for fact in inside("grep", *words, "--json").json["facts"]}


def test_a_fact_is_shown_with_the_commit_that_brought_it(history: Path) -> None:
    ran = inside("grep", "LONDON france")
    line = f"{short(OTHERS[0].id)} The capital of France is -> London [2 {short(commit('2'))}]\n"
    assert (ran.code, ran.out, ran.err) == (0, line, "")


def test_live_facts_of_head_are_the_default(history: Path) -> None:
    assert found("capital") == {OTHERS[0].id, FACTS[1].id}
    assert inside("grep", "Rome").code == 1, "France has another capital by now"
    assert found("capital", "1") == {FACTS[0].id, FACTS[1].id}
    assert found("capital", "side") == {FACTS[0].id, FACTS[1].id}


def test_messages_of_the_commits_that_the_revision_reaches(history: Path) -> None:
    ran = inside("grep", "são")
    assert ran.out == f"commit {short(commit('3'))} 3 No São Paulo\n"
    assert inside("grep", "wrong").out == ran.out, "the whole message counts"
    assert inside("grep", "são", "--live").code == 1
    assert "東京" in inside("grep", "東京", "side").out
    assert inside("grep", "東京").code == 1


def test_everything_ever_committed(history: Path) -> None:
    ran = inside("grep", "--all", "paulo")
    assert ran.out.splitlines() == [
        f"{short(FACTS[4].id)} São Paulo is a city in the country of -> Italy "
        f"[1 {short(commit('1'))}] (not live)",
        f"commit {short(commit('3'))} 3 No São Paulo",
    ]
    document = inside("grep", "--all", "東京", "--json").json
    assert [(one["fact"], one["live"]) for one in document["facts"]] == [(FACTS[5].id, False)]
    assert [one["commit"] for one in document["commits"]] == [commit("side")]
    assert found("--all", "") == {fact.id for fact in (*FACTS, *OTHERS)}, "and abandoned ones"


def test_newest_first(history: Path) -> None:
    numbers = [row["number"] for row in inside("grep", "", "--json").json["commits"]]
    assert numbers == [3, 2, 1]
    lines = inside("grep", "", "--live").out.splitlines()
    assert len(lines) == 4 and lines[0].startswith(short(OTHERS[0].id))


def test_json_has_what_show_has_and_where_it_comes_from(history: Path) -> None:
    document = inside("grep", "capitals", "--json").json
    assert document == {
        "facts": [
            {
                "fact": FACTS[1].id, "subject": "Italy", "prompt": "The capital of {} is",
                "target_new": "Paris", "tags": ["capitals"], "commit": commit("1"), "live": True,
            }
        ],
        "commits": [],
    }  # fmt: skip
    (row,) = inside("grep", "--json", "five").json["commits"]
    assert row.keys() == {
        "commit", "number", "tree", "parents", "message", "author", "time", "edits", "live",
    }  # fmt: skip


def test_a_word_that_the_line_does_not_show_is_shown_below(here: Path) -> None:
    one = Fact(
        "Proust", "The native language of {} is", "Polish", target_true="French",
        source="a survey,\nof 1900", tags=("tongue", "other"),
    )  # fmt: skip
    inside("config", "recipe.v_num_grad_steps", "1")
    inside("commit", written(here / "f.jsonl", [one]), "-m", "One")
    line = f"{short(one.id)} The native language of Proust is -> Polish [1 {short(commit('HEAD'))}]"
    for text, below in [
        ("native proust", []),
        ("french", ["  target_true: French"]),
        ("survey proust", ["  source: a survey, of 1900"]),
        ("tong surv", ["  source: a survey, of 1900", "  tag: tongue"]),
    ]:
        assert inside("grep", text).out.splitlines() == [line, *below], text


def test_nothing_found_is_exit_code_1_and_silence(history: Path) -> None:
    ran = inside("grep", "nowhere to be found")
    assert (ran.code, ran.out, ran.err) == (1, "", "")
    ran = inside("grep", "nowhere", "--json")
    assert ran.code == 1 and ran.out == '{\n  "facts": [],\n  "commits": []\n}\n'


def test_before_the_first_commit_and_in_the_base(here: Path) -> None:
    for words in (["x"], [""], ["x", "base"]):
        assert inside("grep", *words).code == 1
    inside("commit", written(here / "a.jsonl", FACTS[:1]))
    assert inside("grep", "France", "base").out == ""
    assert inside("grep", "France").code == 0


@pytest.mark.parametrize(
    "text", ['"', "*", "a:b", "-- -x", "NOT", "(", "'", "%", "_", "\\", "a" * 3000]
)
def test_characters_have_no_meaning(history: Path, text: str) -> None:
    ran = inside("grep", "--all", "--", text)
    assert (ran.code, ran.out, ran.err) == (1, "", "")


def test_usage(history: Path) -> None:
    for words in (["--all", "x", "main"], ["--all", "--live", "x"], []):
        ran = inside("grep", *words)
        assert ran.code == 2 and "Error: " in ran.err
    ran = inside("grep", "x", "1..2")
    assert ran.code == 1 and "is a range where one commit is needed" in ran.err


def test_after_a_squash_facts_come_from_it(history: Path) -> None:
    inside("config", "recipe.v_num_grad_steps", "1")
    inside("commit", written(history / "d.jsonl", FRESH[:1]), "-m", "Proust")
    assert inside("squash", "--range", "2..HEAD", "-m", "Folded").code == 0
    (fact,) = inside("grep", "proust", "--live", "--json").json["facts"]
    assert fact["commit"] == commit("HEAD")
    assert inside("fsck").code == 0


def test_from_python(history: Path) -> None:
    repo = opened(history)
    matches = repo.grep("capital")
    assert [match.fact for match in matches.facts] == [OTHERS[0], FACTS[1]] and matches
    assert not repo.grep("capital", messages=False, revision="base")
    assert {match.fact for match in repo.grep("capital", None).facts} == {*FACTS[:2], *OTHERS}
