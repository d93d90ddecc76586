"""Who else reacts to located edits: told by a dry run, and refused when strict."""

from __future__ import annotations

import pytest
from tiny_repos import FACTS

from editvc import Repo
from editvc.session import reactions
from editvc.session.reactions import OthersReact

NAMES = ("Italy", "London", "Marie Curie")


@pytest.fixture(autouse=True)
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "_names", lambda _session: NAMES)


def test_a_dry_run_names_those_that_an_edit_reaches(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "LINEAR_LIMIT", -10.0)
    told = repo.preview(FACTS[:2]).reactions
    assert [one.fact for one in told] == list(FACTS[:2])
    for one in told:
        shares = [share for _, share in one.names]
        assert shares == sorted(shares, reverse=True)
        assert {name for name, _ in one.names} == {*NAMES} - {one.fact.subject}
    monkeypatch.setattr(reactions, "LINEAR_LIMIT", 10.0)
    assert repo.preview(FACTS[:2]).reactions == ()


def test_strict_refuses_located_edits_that_reach_others(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "LINEAR_LIMIT", -10.0)
    with pytest.raises(OthersReact, match="also changes") as caught:
        repo.commit(FACTS[:1], strict=True)
    assert str(repo.preview(FACTS[:1], strict=True).refusal) == str(caught.value)
    assert repo.preview(FACTS[:1]).refusal is None
    assert repo.status().number == 0
    monkeypatch.setattr(reactions, "LINEAR_LIMIT", 10.0)
    assert repo.commit(FACTS[:1], strict=True).id == repo.status().commit


def test_methods_without_keys_of_subjects_tell_of_nobody(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "LINEAR_LIMIT", -10.0)
    for method in ("ft", "ultraedit"):
        assert repo.preview(FACTS[:1], recipe=repo.choose(method).recipe).reactions == ()
