"""A lock on a folder, as two holders see it."""

from __future__ import annotations

from pathlib import Path

from editvc.vcs.folder_lock import FolderLock


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
