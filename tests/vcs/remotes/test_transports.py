"""What every place for a remote keeps, whatever it is made of."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, hub
from remote_places import running_s3, use_hub, use_s3

from editvc.vcs.remotes.connect import connect, lasting
from editvc.vcs.remotes.folder import Folder
from editvc.vcs.remotes.transport import (
    DOCUMENT,
    RemoteDamaged,
    RemoteError,
    RemoteMoved,
    RemoteUnreached,
    Seen,
    Transport,
)

__all__ = ["hub"]

NAME = f"packs/{'a' * 64}.pack"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(params=["folder", "s3", "hub"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "s3":
        use_s3(monkeypatch, request.getfixturevalue("s3"))
        return f"s3://bucket/{tmp_path.name}"
    if request.param == "hub":
        use_hub(monkeypatch, request.getfixturevalue("hub").url)
        return "hf://alice/history"
    return str(tmp_path / "remote")


def test_a_document_is_swapped_for_the_one_that_was_seen_alone(url: str) -> None:
    mine, other = connect(url), connect(url)
    empty = mine.document()
    assert empty.data is None
    mine.swap(b"one", empty)
    with pytest.raises(RemoteMoved):
        other.swap(b"late", empty)
    seen = other.document()
    assert seen.data == b"one"
    other.swap(b"two", seen)
    with pytest.raises(RemoteMoved):
        mine.swap(b"three", seen)
    assert mine.document().data == b"two"


def test_a_file_is_there_after_the_swap_and_read_in_parts(url: str, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.write_bytes(bytes(range(200)))
    place = connect(url)
    place.write(NAME, pack)
    place.swap(b"{}", place.document())
    again = connect(url)
    assert again.read(NAME, 0, 7) == bytes(range(7))
    assert again.read(NAME, 190, 400) == bytes(range(190, 200))
    assert again.size(NAME) in (200, None)  # the Hub does not say: it takes nothing twice anyway
    assert again.size("packs/none") is None


def test_one_of_many_that_come_at_once_is_taken(tmp_path: Path) -> None:
    place = Folder(tmp_path / "remote")
    taken, refused = [], []

    def swap(number: int) -> None:
        try:
            place.swap(str(number).encode(), Seen(None))
            taken.append(number)
        except RemoteMoved:
            refused.append(number)

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1 and len(refused) == 7
    assert place.document().data == str(taken[0]).encode()


def test_a_folder_is_made_in_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no folder that it could be made in"):
        Folder(tmp_path / "none" / "remote").swap(b"", Seen(None))
    assert not (tmp_path / "none").exists()


def test_links_and_pipes_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / DOCUMENT).symlink_to(tmp_path / "secret")
    with pytest.raises(RemoteUnreached):
        Folder(tmp_path).document()
    (tmp_path / DOCUMENT).unlink()
    os.mkfifo(tmp_path / DOCUMENT)
    with pytest.raises(RemoteDamaged, match="no regular file"):
        Folder(tmp_path).document()
    assert Folder(tmp_path).size(DOCUMENT) is None


@pytest.mark.parametrize(
    "address", ["s3://", "hf://alone", "hf://a/b/c", "ssh://host", "ssh://host:x/p", "ftp://a/b", "ss3://a/b"]
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anybody_is_asked(address: str) -> None:
    with pytest.raises(RemoteError):
        connect(address)


def test_a_path_means_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lasting("../a") == str(tmp_path.resolve().parent / "a")
    assert lasting("file:///b") == "/b" and lasting("s3://c/d") == "s3://c/d"


def test_a_hub_that_is_not_there_is_said_to_be(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    place: Transport = connect("hf://alice/history")
    with pytest.raises(RemoteUnreached):
        place.document()
