"""``editvc report``: what the page is made of."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS

from editvc.core.invisible import printable


@pytest.fixture
def history(here: Path) -> Path:
    """Two facts, one of them replaced, then one reverted."""
    inside("commit", written(here / "f.jsonl", FACTS[:2]), "-m", "Two <b>facts</b>")
    other = replace(FACTS[0], target_new=FACTS[1].target_new)
    inside("commit", written(here / "g.jsonl", [other]), "-m", "Another object", "--supersede")
    inside("revert", "HEAD~1", "-m", "Back")
    return here


def shown(page: Path) -> dict[str, Any]:
    """The data of a page."""
    found = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_has_history_facts_and_health(history: Path) -> None:
    ran = inside("report", "-o", "page.html", "--json").json
    page = shown(history / "page.html")
    log = inside("log", "--json").json
    assert ran == {"path": "page.html", "commits": len(log), "facts": len(page["facts"]),
                   "prompts": 0}  # fmt: skip
    assert [one["message"] for one in page["commits"]] == [one["message"].strip() for one in log]
    assert page["commits"][0]["names"] == ["main"]
    assert page["commits"][0]["parents"] == [page["commits"][1]["id"]]
    health = inside("health", "--json").json
    assert page["health"]["verdict"] == health["verdict"]
    assert page["health"]["trend"] == health["trend"]
    for spectrum, layer in zip(page["health"]["spectra"], health["layers"], strict=True):
        assert len(spectrum["values"]) == layer["rank"]
        assert max(spectrum["values"]) == pytest.approx(layer["spectral_norm"], rel=1e-12)


def test_every_fact_is_told_with_what_became_of_it(history: Path) -> None:
    inside("report")
    states = {one["new"]: (one["state"], one["brought"], one["left"], one["said"])
              for one in shown(history / "report.html")["facts"]
              if one["subject"] == FACTS[0].subject}  # fmt: skip
    live = {one["target_new"] for one in inside("diff", "base", "HEAD", "--json").json["added"]}
    assert states[FACTS[0].target_new] == ("superseded", 1, 2, None)
    for new, (state, *_) in states.items():
        assert (state == "live") == (new in live), new


def test_what_eval_has_asked_is_said_or_drowned(history: Path) -> None:
    told = {
        one["fact"][:10]: printable(one["answer"])
        for one in inside("eval", "--json").json["per_fact"]
    }
    inside("report")
    facts = shown(history / "report.html")["facts"]
    assert {one["id"]: one["answer"] for one in facts if one["state"] == "live"} == told
    assert all(one["said"] == one["answer"].startswith(one["new"])
               for one in facts if one["state"] == "live")  # fmt: skip


def test_prompts_have_both_answers_and_shares(history: Path) -> None:
    prompt = FACTS[1].question
    inside("report", "--prompt", prompt)
    (asked,) = shown(history / "report.html")["prompts"]
    for revision, answer in (("base", asked["before"]), ("HEAD", asked["after"])):
        blamed = inside("blame", prompt, revision, "--json").json
        assert answer == printable(blamed["answer"].strip())
    assert sum(one["share"] for one in asked["shares"]) == pytest.approx(1.0)


def test_a_page_that_is_there_is_kept(history: Path) -> None:
    Path("report.html").write_text("mine")
    ran = inside("report")
    assert ran.code == 1 and "report.html: is there already" in ran.err and "--force" in ran.err
    assert Path("report.html").read_text() == "mine"
    assert inside("report", "--force").code == 0
    ran = inside("report", "-o", ".editvc/page.html")
    assert ran.code == 1 and "inside a repository's .editvc" in ran.err


def test_an_empty_repository_has_a_page_too(here: Path) -> None:
    assert inside("report").code == 0
    page = shown(here / "report.html")
    assert (page["commits"], page["facts"], page["health"]["spectra"]) == ([], [], [])
