from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The small values of the store's tests serve here too, and the hub of those that publish.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vcs"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "publish"))

from cli_runs import clean
from hub_server import hub
from tiny_repos import Prepared, close, prepared, work

__all__ = ["hub", "prepared", "work"]


@pytest.fixture
def here(prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a repository without commits in it, and nobody's settings."""
    folder = work / "here"
    repo = prepared.copy(folder)
    repo.repository.set_config("user.author", "")
    close(repo)
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(folder)
    yield folder
