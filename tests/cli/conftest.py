from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import clean
from hub_server import hub
from tiny_repos import Prepared, close, prepared, repo, work

__all__ = ["hub", "prepared", "repo", "work"]


@pytest.fixture
def here(prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a repository without commits in it, and nobody's settings."""
    folder = work / "here"
    repo = prepared.copy(folder)
    repo.session.repository.set_config("user.author", "")
    close(repo)
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(folder)
    yield folder
