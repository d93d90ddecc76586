"""A remote over SSH: the same promises, and whose machine it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sftp_server import running_sftp

from editvc.vcs.remotes.connect import connect
from editvc.vcs.remotes.transport import DOCUMENT, RemoteMoved, RemoteUnreached

NAME = f"packs/{'a' * 64}.pack"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with running_sftp(tmp_path / "remote", tmp_path / "home") as address:
        yield address


def test_a_document_is_swapped_by_renaming(url: str, tmp_path: Path) -> None:
    mine, other = connect(url), connect(url)
    empty = mine.document()
    mine.swap(b"one", empty)
    with pytest.raises(RemoteMoved):
        other.swap(b"late", empty)
    other.swap(b"two", other.document())
    assert mine.document().data == b"two"
    assert [path.name for path in (tmp_path / "remote").iterdir()] == [DOCUMENT]


def test_a_file_arrives_whole_and_is_read_in_parts(url: str, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(bytes(range(200)))
    place = connect(url)
    place.write(NAME, tmp_path / "pack")
    assert place.size(NAME) == 200 and place.size("packs/none") is None
    assert place.read(NAME, 190, 400) == bytes(range(190, 200))
    assert [path.name for path in (tmp_path / "remote" / "packs").iterdir()] == [NAME[6:]]


def test_a_lock_that_was_left_is_named(url: str, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / f"{DOCUMENT}.lock").touch()
    place = connect(url)
    with pytest.raises(RemoteUnreached, match=r"\.lock cannot be made") as refused:
        place.swap(b"one", place.document())
    assert "remove the file" in refused.value.hint


def test_an_unknown_machine_may_be_anybody(url: str, tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(RemoteUnreached, match=r"not in ~/\.ssh/known_hosts"):
        connect(url).document()
