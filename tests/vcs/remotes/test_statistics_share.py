"""The list of a share comes from outside: every value of it is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from editvc.core.ids import object_id
from editvc.vcs.remotes.connect import connect
from editvc.vcs.remotes.statistics_share import DOCUMENT, FORMAT, Piece, Share
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError, RemoteMoved, Seen

DATA = b"numbers"
PIECE = Piece(
    object_id(DATA), len(DATA), "b" * 64, "c" * 64, "text", (3,), "d" * 64, "a text", 10, "tokens"
)  # fmt: skip


def at(path: Path) -> Share:
    return Share(connect(str(path), document=DOCUMENT))


@pytest.fixture
def share(tmp_path: Path) -> Share:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    share = at(tmp_path / "share")
    assert share.look() == ((), Seen(None))
    assert share.send(PIECE, file)
    share.swap([PIECE], share.look()[1], PIECE.size)
    return share


def test_what_was_listed_is_there(share: Share, tmp_path: Path) -> None:
    assert share.require() == (PIECE,)
    assert share.fetch(PIECE) == DATA
    assert not share.send(PIECE, tmp_path / "file")


def test_a_list_that_others_changed_is_not_overwritten(share: Share) -> None:
    _, seen = share.look()
    other = replace(PIECE, layers=(4,))
    share.swap([PIECE, other], seen, 0)
    with pytest.raises(RemoteMoved):
        share.swap([], seen, 0)
    assert share.require() == (PIECE, other)


def test_a_place_without_a_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no statistics are shared here"):
        at(tmp_path).require()


def test_a_history_beside_it_is_left_alone(share: Share, tmp_path: Path) -> None:
    history = connect(str(tmp_path / "share"))
    assert history.document() == Seen(None)
    history.swap(b"{}", Seen(None))
    assert share.require() == (PIECE,)


@pytest.mark.parametrize("data", [b"other !", b"numbers and more", b"num", b""])
def test_other_bytes_are_refused(share: Share, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "share" / PIECE.name).write_bytes(data)
    if data.startswith(DATA):
        assert share.fetch(PIECE) == DATA, "no more is read than was listed"
        return
    with pytest.raises(RemoteDamaged, match="other bytes"):
        share.fetch(PIECE)


def test_a_link_and_a_lost_file_are_refused(share: Share, tmp_path: Path) -> None:
    file = tmp_path / "share" / PIECE.name
    file.unlink()
    with pytest.raises(RemoteError):
        share.fetch(PIECE)
    file.symlink_to(tmp_path / "file")
    with pytest.raises(RemoteError):
        share.fetch(PIECE)


ROWS: dict[str, dict[str, Any]] = {
    "a path for an id": {"id": "../../../etc/passwd"},
    "a short id": {"id": "ab"},
    "a base of no id": {"base": "pocket"},
    "an identity of no id": {"identity": None},
    "a corpus of no digest": {"corpus": 7},
    "an unknown role": {"role": "weights"},
    "no layers": {"layers": []},
    "layers twice": {"layers": [3, 3]},
    "a layer below 0": {"layers": [-1]},
    "texts for layers": {"layers": ["3"]},
    "a number for layers": {"layers": 3},
    "no bytes": {"size": 0},
    "endless bytes": {"size": 1 << 60},
    "no samples": {"samples": 0},
    "half a sample": {"samples": 0.5},
    "an endless name": {"source": "x" * 10_000},
    "more than it should have": {"path": "/etc/passwd"},
}


@pytest.mark.parametrize("name", ROWS)
def test_a_hostile_row_is_refused(share: Share, tmp_path: Path, name: str) -> None:
    _write(tmp_path, {"format": FORMAT, "statistics": [asdict(PIECE) | ROWS[name]]})
    with pytest.raises(RemoteDamaged, match="has a list of statistics that"):
        share.require()


DOCUMENTS: dict[str, Callable[[], Any]] = {
    "another format": lambda: {"format": "editvc statistics 9", "statistics": []},
    "a row twice": lambda: {"format": FORMAT, "statistics": [asdict(PIECE)] * 2},
    "a row of a list": lambda: {"format": FORMAT, "statistics": [[1, 2]]},
    "no list": lambda: {"format": FORMAT, "statistics": {"a": 1}},
    "a list alone": lambda: [],
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hostile_list_is_refused(share: Share, tmp_path: Path, name: str) -> None:
    _write(tmp_path, DOCUMENTS[name]())
    with pytest.raises(RemoteDamaged):
        share.require()


def test_no_json_is_refused(share: Share, tmp_path: Path) -> None:
    (tmp_path / "share" / DOCUMENT).write_bytes(b"\x00")
    with pytest.raises(RemoteDamaged, match="no JSON"):
        share.require()


def _write(folder: Path, record: Any) -> None:
    (folder / "share" / DOCUMENT).write_text(json.dumps(record), "utf-8")
