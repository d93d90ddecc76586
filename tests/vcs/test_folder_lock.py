"""A lock on a folder, as two holders see it; descriptors are doubled as a fork doubles them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from editvc.vcs.folder_lock import FolderLock


@pytest.fixture
def doubled(tmp_path: Path) -> Iterator[FolderLock]:
    """One that is held, and whose descriptor a child has that is about to be another program."""
    lock = FolderLock(tmp_path)
    lock.share()
    assert lock._descriptor is not None
    child = os.dup(lock._descriptor)
    yield lock
    os.close(child)


def test_many_share_it_and_one_has_it_alone(tmp_path: Path) -> None:
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    one.share()
    other.share()
    assert not FolderLock(tmp_path).take()
    one.release()
    other.release()
    assert one.take() and not other.take()
    one.release()
    assert other.take()
    other.release()


def test_what_is_let_go_is_free_though_a_child_has_it_still(doubled: FolderLock) -> None:
    doubled.release()
    assert FolderLock(doubled.folder).take()


def test_a_forked_child_does_not_let_go_what_its_parent_holds(doubled: FolderLock) -> None:
    doubled._process += 1  # as if it had been made in another one
    doubled.release()
    assert not FolderLock(doubled.folder).take(), "the other descriptor is the parent's here"
