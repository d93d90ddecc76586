"""Folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from editvc.errors import EditvcError
from editvc.version import __version__

MANIFEST = "editvc.json"
"""The file by which editvc knows its own exports again."""


class TargetError(EditvcError):
    """A target folder that an export must not touch. ``path`` is that folder."""

    def __init__(self, path: Path, problem: str, *, hint: str) -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path


@contextmanager
def staged(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its name when the block ends without an error.

    Everything is flushed to disk before the rename, so ``target`` never holds half an export; an
    error leaves it as it was and removes the new folder. A folder that has something in it is
    refused with :class:`TargetError`, unless it is an earlier export of editvc, with no file that
    editvc did not write, and ``replace`` is set: then it is swapped for the new one.
    """
    target = Path(os.path.abspath(target))
    _refuse(target, replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    partial = target.parent / f".{target.name}.{mark}.partial"
    partial.mkdir()
    try:
        yield partial
        _list_files(partial)
        _flush(partial)
        _refuse(target, replace)
        _swap(partial, target, target.parent / f".{target.name}.{mark}.previous")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, target: Path, previous: Path) -> None:
    """Give ``partial`` the name ``target``; what was there goes only once the new one stands."""
    if target.exists():
        target.rename(previous)
    try:
        partial.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    _flush_folder(target.parent)
    if previous.exists():
        shutil.rmtree(previous)


def write_manifest(folder: Path, kind: str, record: Mapping[str, Any]) -> None:
    """Write :data:`MANIFEST`: what this folder is, and which editvc made it."""
    record = {"format": kind, "editvc": __version__, **record}
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def add_documents(folder: Path, documents: Mapping[str, str | bytes]) -> None:
    """Write further files by name, text as UTF-8."""
    for name, content in documents.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _list_files(folder: Path) -> None:
    """Name all files of an export in its manifest: others that come to lie there are not ours."""
    path = folder / MANIFEST
    if path.is_file():
        record = json.loads(path.read_bytes()) | {"files": sorted(_files(folder))}
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def _files(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in files} - {MANIFEST}


def is_export(folder: Path) -> bool:
    """Whether ``folder`` carries the manifest of an export."""
    try:
        record = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"format", "editvc"} <= record.keys()


def _refuse(target: Path, replace: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise TargetError(target, "is a file", hint="Name a folder that does not exist yet.")
    if not any(target.iterdir()):
        return
    if not is_export(target):
        raise TargetError(
            target,
            "is not empty, and editvc did not make it",
            hint="Name a folder that does not exist yet; nothing here was touched.",
        )
    if not replace:
        raise TargetError(
            target,
            "already holds an export",
            hint="Name another folder, or replace this export with --force.",
        )
    foreign = _files(target) - set(json.loads((target / MANIFEST).read_bytes()).get("files", ()))
    if foreign:
        raise TargetError(
            target,
            f"holds files that editvc did not write: {', '.join(sorted(foreign)[:3])}"
            + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""),
            hint="Move them away, or name another folder; nothing here was touched.",
        )


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
