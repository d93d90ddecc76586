"""What a repository keeps on disk, read as docs/formats.md says and without editvc."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = ".editvc"
ARCHIVE = "repositories.tar.xz"
EXPECTED = "expected.json"
"""What is kept of a version: see ``pack_repository.py``."""
TABLES = {
    "refs": "name, target",
    "reflog": "number, ref, old, new, author, time, message",
    "commits": "id, number, tree, parents, message, author, time, edits, live, delta, health",
    "located": "request, located",
    "facts": "id, slot, subject, prompt, target_new",
}
"""The tables of ``index.db`` and the columns that say something."""


def objects(work: Path) -> dict[str, bytes]:
    """Every object of the repository in ``work`` by its id."""
    folder = work / FOLDER / "objects"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.parent.name + path.name: path.read_bytes() for path in paths}


def record_of(data: bytes) -> dict[str, Any]:
    """What an object says about itself: all of its JSON, or a tensor file's metadata."""
    size = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or size > len(data):
        return dict(json.loads(data))
    return dict(json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["editvc"]))


def kinds(work: Path) -> dict[str, str]:
    """The kind of every object by its id, in the order of the ids.

    Raises ``ValueError`` for bytes that are not under their own digest.
    """
    for identifier, data in objects(work).items():
        if sha256(data).hexdigest() != identifier:
            raise ValueError(f"object {identifier} has other bytes")
    return {one: str(record_of(data)["kind"]) for one, data in objects(work).items()}


def rows(work: Path) -> dict[str, list[list[Any]]]:
    """The rows of every table, in order."""
    with closing(sqlite3.connect(work / FOLDER / "index.db")) as index:
        return {
            table: [list(row) for row in index.execute(f"SELECT {columns} FROM {table} ORDER BY 1")]
            for table, columns in TABLES.items()
        }


def settle(index: Path) -> None:
    """Bring what lies in the write-ahead log into the index itself, so that it is one file."""
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
