"""Facts that hold to a last day: ``expire`` takes them out, ``status`` counts them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cli_runs import clean, inside
from tiny_repos import FACTS, same_bits, tree

from editvc import Repo
from editvc.session.recording import NothingToDo

LAST = date(2023, 11, 13)
"""The day before the clock's, which stands in November 2023."""


@pytest.fixture
def dated(repo: Repo) -> Repo:
    """One fact without an end, one that has run out, one that holds today, one much later."""
    ends = (None, "2023-11-13", "2023-11-14", "2030-01-01")
    repo.commit([replace(f, valid_until=e) for f, e in zip(FACTS[:4], ends, strict=True)])
    return repo


def test_what_has_run_out_is_committed_away_exactly(dated: Repo, repo: Repo) -> None:
    assert dated.status().expired == 1
    before = dated.live()
    done = dated.expire()
    assert done.commit.edits == 1 and done.commit.message == "Expire 1 fact on 2023-11-14"
    assert {fact.subject for fact in dated.live()} == {f.subject for f in before} - {"Italy"}
    assert dated.status().expired == 0
    expired = dated.materialise()
    dated.revert("HEAD")
    dated.revert(next(fact.id for fact in before if fact.subject == "Italy"))
    assert same_bits(dated.materialise(), expired)
    assert dated.fsck().errors == ()


def test_another_day_may_be_looked_at(dated: Repo) -> None:
    assert [fact.subject for fact in dated.preview_expire(date(2023, 11, 14)).facts] == ["Italy"]
    assert len(dated.preview_expire(date(2030, 1, 1)).facts) == 2
    dated.expire(date(2031, 1, 1), message="All")
    assert [fact.subject for fact in dated.live()] == ["France"]
    for verb in (dated.expire, dated.preview_expire):
        with pytest.raises(NothingToDo, match="nothing to expire"):
            verb(date(2031, 1, 1))


def test_nothing_runs_out_on_its_last_day(dated: Repo) -> None:
    before = tree(dated)
    with pytest.raises(NothingToDo):
        dated.expire(LAST)
    assert tree(dated) == before


def test_the_command(dated: Repo, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(work)
    assert "2 of them past their last day: `editvc expire`" in inside("status").out
    assert inside("status", "--json").json["expired"] == 2
    ran = inside("expire", "--dry-run")
    assert "(valid until 2023-11-13)" in ran.out and "2 facts expired; nothing was" in ran.out
    done = inside("expire", "--at", "2023-11-14", "--dry-run", "--json").json
    assert done["at"] == "2023-11-14" and len(done["expired"]) == 1
    assert inside("expire", "--at", "tomorrow").code == 2
    assert inside("expire").code == 0
    assert inside("expire").code == 1
