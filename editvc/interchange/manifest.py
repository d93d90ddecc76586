"""``editvc.json``: by which editvc knows its own exports, and every file that it wrote there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from editvc.core.ids import digest_of
from editvc.core.plain_json import read_json
from editvc.version import __version__

MANIFEST = "editvc.json"
"""The name of the file."""

LEDGER, LOCK, BUNDLE = "editvc.ledger.jsonl", "editvc.lock.json", "editvc.bundle"
"""What lies beside the weights of a published model: its facts, what it was made from, and that
itself.
"""
SIGNATURE = "model.sig"
"""Who made a published model: a signature of all its files, the manifest among them."""

SEAL = "seal"
"""Under this key the manifest has the digest of all else in it."""

LIMIT = 1 << 24
"""Bytes: no manifest is longer."""


def write_manifest(folder: Path, kind: str, record: Mapping[str, Any]) -> None:
    """Write :data:`MANIFEST`: what this folder is, and which editvc made it."""
    _write(folder, {"format": kind, "editvc": __version__, **record})


def seal(folder: Path) -> None:
    """Record the sha256 of every file of a finished export, and of the manifest itself.

    Others that come to lie there later, and files that are changed, are known by that.
    """
    record = read_manifest(folder)
    if record is not None:
        record["files"] = {name: _sha256(folder / name) for name in sorted(_names(folder))}
        _write(folder, record | {SEAL: digest_of(record)})


def is_export(folder: Path) -> bool:
    """Whether ``folder`` carries the manifest of an export."""
    record = read_manifest(folder)
    return record is not None and {"format", "editvc"} <= record.keys()


def strangers(folder: Path) -> dict[str, str]:
    """What lies in an export and is not as editvc wrote it: the name, and what is wrong with it."""
    written = None if folder.is_symlink() else files_written(folder)
    if written is None:
        return {MANIFEST: "is not as editvc wrote it"}
    folders = {above.as_posix() for name in written for above in PurePosixPath(name).parents}
    wrong = {}
    for name in sorted(_names(folder) - folders):
        if name not in written:
            wrong[name] = "was not written by editvc"
        elif _sha256(folder / name) != written[name]:
            wrong[name] = "was changed since editvc wrote it"
    return wrong


def files_written(folder: Path) -> dict[str, str] | None:
    """The files of an export with their sha256, by the manifest; ``None`` if that is not whole."""
    record = read_manifest(folder)
    if record is None:
        return None
    files, stated = record.get("files"), record.pop(SEAL, None)
    return files if isinstance(files, dict) and stated == digest_of(record) else None


def remove_export(folder: Path) -> None:
    """Remove the files of an export, its manifest last, and the folders that are empty then.

    What is not in the manifest stays, and so does the folder: :class:`OSError` says so.
    """
    for name in _names(folder) & (files_written(folder) or {}).keys():
        (folder / name).unlink()
    for path, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            os.rmdir(os.path.join(path, name))
    (folder / MANIFEST).unlink(missing_ok=True)
    folder.rmdir()


def _names(folder: Path) -> set[str]:
    """What lies below a folder, the manifest apart: files, links, and folders with nothing in them.

    Links are not followed.
    """
    found = set()
    for path, folders, files in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(path, name))]
        found |= {Path(path, name) for name in (*files, *linked)}
        if not folders and not files:
            found.add(Path(path))
    return {one.relative_to(folder).as_posix() for one in found - {folder, folder / MANIFEST}}


def _sha256(path: Path) -> str | None:
    """Of a regular file; ``None`` for links, pipes and whatever else waits there."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; ``None`` where there is none that can be read."""
    path = folder / MANIFEST
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LIMIT:
            return None
        record = read_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
