"""Disabling edits are told before a commit, and refused where it is strict."""

from __future__ import annotations

import pytest
from tiny_repos import FACTS, FRESH

from editvc import Repo
from editvc.porcelain import commit
from editvc.session.foresight import Disabling

LIMIT = "health.disabling_warn"


@pytest.fixture
def wary(repo: Repo) -> Repo:
    """Every edit is past its limit, however little it does."""
    repo.session.repository.set_config(LIMIT, "1e-9")
    return repo


def test_a_commit_warns_of_what_may_disable(wary: Repo) -> None:
    told: list[str] = []
    done = wary.commit(FACTS[:2], remark=told.append)
    dangerous = [line for line in done.warnings if "disable the model: chance" in line]
    assert len(dangerous) == 2 and set(dangerous) <= set(told)
    assert "distance" in dangerous[0] and "objective" in dangerous[0]


def test_nothing_is_told_within_the_limit(repo: Repo) -> None:
    assert repo.session.repository.config.health.disabling_warn == 1
    assert not any("chance" in line for line in repo.commit(FACTS[:2]).warnings)
    assert repo.preview(FACTS[2:4]).dangerous == ()


def test_strict_refuses_before_the_branch_moves(
    wary: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "foreseen_reactions", lambda *_: ())
    with pytest.raises(Disabling, match="may disable the model") as caught:
        wary.commit(FACTS[:2], strict=True)
    assert len(caught.value.foreseen) == 2 and wary.status().commit is None
    chances = [one.chance for one in caught.value.foreseen]
    assert chances == sorted(chances, reverse=True)
    planned = wary.preview(FACTS[:2], strict=True)
    assert str(planned.refusal) == str(caught.value)


def test_a_dry_run_foresees_what_is_not_made_at_its_largest(wary: Repo) -> None:
    (early,) = wary.preview(FRESH[:1]).foreseen
    assert not early.made and "may become" in early.line
    assert early.figures["objective"] > 1
    assert early.figures["residual"] == pytest.approx(wary.recipe().clamp_norm_factor, rel=1e-5)
    wary.commit(FRESH[:1])
    wary.revert("HEAD")
    (made,) = wary.preview(FRESH[:1]).foreseen
    assert made.made and made.figures["leverage"] == pytest.approx(
        early.figures["leverage"], rel=0.5
    )
    assert made.figures["residual"] <= early.figures["residual"] * (1 + 1e-5)


def test_a_strict_dry_run_refuses_nothing_that_is_not_made(wary: Repo) -> None:
    planned = wary.preview(FRESH[:1], strict=True)
    assert planned.dangerous and not isinstance(planned.refusal, Disabling)
