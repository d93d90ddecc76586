"""``health --history``: what health says of every commit, kept; and the forecast made of it."""

from __future__ import annotations

import pytest
from tiny_repos import FACTS

from editvc import Repo
from editvc.core.forecast import LEAST, Forecast
from editvc.core.history import Restraint
from editvc.porcelain import layer_figures


@pytest.fixture
def grown(repo: Repo) -> Repo:
    for fact in FACTS:
        repo.commit([fact])
    return repo


def test_history_is_what_health_says_of_every_commit(grown: Repo) -> None:
    moments = grown.health_history()
    assert [one.number for one in moments] == [1, 2, 3, 4, 5, 6] == [one.live for one in moments]
    for one in (moments[0], moments[-1]):
        report = grown.health(str(one.number))
        assert one.layers == [layer.to_json() for layer in report.layers]
        assert one.worst == report.summary_figures()
    assert moments[2:] == grown.health_history(most=4)


def test_what_was_told_once_is_not_computed_again(
    grown: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = grown.health_history()
    monkeypatch.setattr(layer_figures, "layer_health", None)
    assert grown.health_history() == before


def test_health_forecasts_from_commits_that_only_grow(grown: Repo) -> None:
    report = grown.health()
    assert report.forecast is not None and report.forecast.commits == len(FACTS) > LEAST
    assert report.to_json()["forecast"] == report.forecast.to_json()
    assert grown.health(str(LEAST - 1)).forecast is None
    grown.compact(Restraint(rank=1))
    assert grown.health().forecast is None, "a restraint ends a run"


@pytest.mark.parametrize("few", [True, False])
def test_too_few_edits_ahead_are_a_warning(
    grown: Repo, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forecast, "too_few", lambda _, limit: few and limit == 7)
    grown.session.repository.set_config("health.forecast_warn", "7.0")
    judged = grown.health()
    assert any(one.startswith("forecast: ") for one in judged.reasons) is few
    assert judged.verdict != "ok" or not few


def test_nothing_was_before_the_first_commit(repo: Repo) -> None:
    assert repo.health_history() == [] and repo.health().forecast is None
