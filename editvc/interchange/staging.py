"""Folders that appear whole or not at all, and what interrupted ones left behind."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from editvc.core.output_path import TargetError, confirm, flush_folder, require_place
from editvc.interchange.exchange import exchange
from editvc.interchange.manifest import is_export, remove_export, seal, strangers

PARTIAL, PREVIOUS = "partial", "previous"
"""Ends of names beside a target: a folder that is being written, and one that is set aside."""

Content = str | bytes | Path
"""What a further file of an export holds: text, bytes, or what another file does."""

SHOWN = 3
"""Files that a message names."""


@contextmanager
def staged(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its name when the block ends without an error.

    Everything is flushed to disk before the rename, so ``target`` never holds half an export; an
    error leaves it as it was and removes the new folder. A folder that has something in it is
    refused with :class:`TargetError`, unless it is an earlier export of editvc, with no file that
    editvc did not write, or not as it is now, and ``replace`` is set: then the two change names in
    one step, and the old one goes. What a killed process leaves, :func:`recover` clears up.
    """
    target = Path(os.path.abspath(target))
    require_free(target, replace=replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    partial = target.with_name(f".{target.name}.{mark}.{PARTIAL}")
    partial.mkdir()
    try:
        with _held(partial):
            yield partial
            seal(partial)
            _flush(partial)
            if not replace:
                require_free(target, replace=replace)
            _swap(partial, target, target.with_name(f".{target.name}.{mark}.{PREVIOUS}"))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def recover(target: Path) -> tuple[str, ...]:
    """Clear up what killed exports to ``target`` left beside it; says in words what was done.

    An export that was set aside and never replaced gets its name back. Nothing is removed that
    editvc did not write, nor what another process is writing.
    """
    target = Path(os.path.abspath(target))
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.({PARTIAL}|{PREVIOUS})")
    found = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    left = [(path, match[1]) for path in found if (match := ours.fullmatch(path.name))]
    told = []
    for path, kind in sorted(left, key=lambda one: one[1], reverse=True):
        if path.is_dir() and not path.is_symlink():
            told.append(_put_back(path, target) if kind == PREVIOUS else _abandoned(path))
    return tuple(filter(None, told))


def add_documents(folder: Path, documents: Mapping[str, Content]) -> None:
    """Write further files by name, text as UTF-8; of those that are elsewhere, copies."""
    for name, content in documents.items():
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _swap(partial: Path, target: Path, previous: Path) -> None:
    """Give ``partial`` the name ``target``; what was there goes only once the new one stands.

    It is looked at once more before: it may have changed while the new one was made.
    """
    require_place(target)
    if not target.exists() or not any(target.iterdir()):
        partial.rename(target)  # an empty folder gives way in the same step
        confirm(target)
        return
    # Under this name it may be the old export or the new one, and is looked at before it goes.
    partial.rename(previous)
    if exchange(previous, target):
        if foreign := strangers(previous):
            exchange(previous, target)
            remove_export(previous)
            raise _not_ours(target, foreign)
    else:
        previous.rename(partial)
        if foreign := strangers(target):
            raise _not_ours(target, foreign)
        target.rename(previous)
        try:
            partial.rename(target)
        except OSError:
            previous.rename(target)
            raise
    confirm(target)
    with suppress(OSError):  # what was put there at this moment stays, and `recover` tells of it
        remove_export(previous)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a lock on a folder that is being written, which ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _abandoned(partial: Path) -> str:
    """Remove half an export that no process is writing any more."""
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    shutil.rmtree(partial)
    return f"removed {partial}, which an interrupted export left"


def _put_back(previous: Path, target: Path) -> str:
    """Remove an export that was set aside, or give it its name again where nothing has it."""
    if not target.exists() and not target.is_symlink():
        previous.rename(target)
        flush_folder(target.parent)
        return f"an interrupted export had set {target} aside; it is there again"
    if any(previous.iterdir()) and (foreign := strangers(previous)):
        return (
            f"an interrupted export left {previous}, which is kept: it {_told(foreign)}. Move what "
            "you need, and remove it"
        )
    remove_export(previous)
    return f"removed {previous}, which an interrupted export left"


def require_free(target: Path, *, replace: bool = False) -> None:
    """Raise :class:`TargetError` unless :func:`staged` would begin."""
    require_place(target)
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
    if foreign := strangers(target):
        raise _not_ours(target, foreign)


def _not_ours(folder: Path, foreign: Mapping[str, str]) -> TargetError:
    return TargetError(
        folder,
        _told(foreign),
        hint="Move such files away, or name another folder; nothing here was touched.",
    )


def _told(foreign: Mapping[str, str]) -> str:
    """``holds files that are not as editvc wrote them: a.txt (was changed ...) and 2 more``."""
    shown = ", ".join(f"{name} ({problem})" for name, problem in [*foreign.items()][:SHOWN])
    more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
    return f"holds files that are not as editvc wrote them: {shown}{more}"


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            flush_folder(path)
    flush_folder(folder)
