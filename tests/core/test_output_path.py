"""Files under names that a user gave: whole, and nothing that was not named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from editvc.core import output_path
from editvc.core.output_path import REPOSITORY, TargetError, UnconfirmedTarget, write_output
from editvc.vcs.repository import FOLDER


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    write_output(path, b"old")
    path.chmod(0o640)
    write_output(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["facts.jsonl"]


def test_a_refused_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_output(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["facts.jsonl"]


def test_links_folders_pipes_and_repositories_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / FOLDER).mkdir()
    for name, problem in (
        ("link", "symbolic link"), ("folder", "no regular file"), ("pipe", "no regular file"),
        (f"{FOLDER}/config.toml", "inside a repository's"),
    ):  # fmt: skip
        with pytest.raises(TargetError, match=problem):
            write_output(tmp_path / name, b"new")
    assert (tmp_path / "mine").read_bytes() == b"mine" and (tmp_path / "link").is_symlink()
    assert REPOSITORY == FOLDER


def test_a_write_that_the_disk_does_not_confirm_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), folder)

    monkeypatch.setattr(output_path, "flush_folder", refuse)
    with pytest.raises(UnconfirmedTarget, match="was changed, and the disk does not confirm"):
        write_output(tmp_path / "note", b"new")
    assert (tmp_path / "note").read_bytes() == b"new"
