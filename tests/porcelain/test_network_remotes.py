"""The verbs over networks: servers on loopback that speak as the real ones do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, hub
from remote_places import running_s3, use_hub, use_s3
from vcs_values import commit_facts, create, fact, quick_folder

from editvc import Repo
from editvc.porcelain.push import NotFastForward
from editvc.vcs.remotes.transport import RemoteUnreached

__all__ = ["hub"]


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(params=["s3", "hub"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "hub":
        use_hub(monkeypatch, request.getfixturevalue("hub").url)
        yield "hf://alice/history"
        return
    with running_s3() as store:
        use_s3(monkeypatch, store)
        yield "s3://bucket/some/where"


def test_two_clones_and_a_race(url: str, place: Path) -> None:
    (place / "ada").mkdir()
    repository = create(place / "ada")
    commit_facts(repository, fact(1))
    ada = Repo(place / "ada")
    ada.add_remote("origin", url)
    assert ada.push().commits == 1
    Repo.clone(url, place / "bo")
    bo = Repo(place / "bo")
    new = commit_facts(bo.session.repository, fact(2))
    bo.push()
    commit_facts(ada.session.repository, fact(3))
    with pytest.raises(NotFastForward, match="fetch first"):
        ada.push()
    assert ada.fetch().moved[0].new == new
    assert ada.push(force=True).moved[0].forced and bo.fetch().moved[0].forced
    assert ada.fetch().moved == () and bo.log("origin/main") == ada.log()
    for repo in (ada, bo):
        report = repo.fsck()
        assert report.clean, report.errors


def test_who_may_not_write_is_told_so(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, hub.url, token="hf_bob")
    (place / "ada").mkdir()
    commit_facts(create(place / "ada"), fact(1))
    ada = Repo(place / "ada")
    ada.add_remote("origin", "hf://alice/history")
    with pytest.raises(RemoteUnreached, match="the Hub says 403") as refused:
        ada.push()
    assert "hf auth login" in refused.value.hint and not hub.repositories
