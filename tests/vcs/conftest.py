from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from vcs_values import create, quick_folder

from editvc.vcs.repository import Repository


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's own, but quick."""
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def fresh() -> Iterator[Path]:
    """A repository without commits, to be copied."""
    with quick_folder() as folder:
        repo = create(folder)
        repo.close()
        yield repo.folder


@pytest.fixture
def repo(fresh: Path, tmp_path: Path) -> Repository:
    shutil.copytree(fresh, tmp_path / ".editvc")
    return Repository.find(tmp_path)
