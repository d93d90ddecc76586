"""An index that is missing, damaged or of an older format, made usable again.

Whoever builds one holds a lock on the folder of the repository, so that nobody puts an old one in
the place of what another process has begun to write to. Imports sqlite-utils.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from editvc.vcs import index_schema
from editvc.vcs.files import TEMPORARY_PREFIX, Fault, Files, WriteError, unique
from editvc.vcs.index import VERSION, Index
from editvc.vcs.index_file import IndexDamaged, IndexMissing, IndexRefused, in_memory
from editvc.vcs.index_rebuild import rebuild
from editvc.vcs.store import DiskStore, ObjectStore

BESIDE = ("", "-wal", "-shm")
"""What the files of one SQLite database have behind its name."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else builds an index in ``folder`` meanwhile; a process that dies lets go."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def upgraded(index: Index, store: ObjectStore) -> Index:
    """An index in today's format: the same file, or a copy in memory where it takes no write."""
    try:
        index_schema.upgrade(index, store)
        return index
    except IndexRefused:
        with index.guarded():
            copy = Index(index.path, connection=in_memory(index.connection))
    index.close()
    index_schema.upgrade(copy, store)
    return _reading_alone(copy)


def recovered(path: Path, store: DiskStore, files: Files, remark: Callable[[str], None]) -> Index:
    """The index that operations tell of, where that at ``path`` is missing.

    On a medium that takes no write it is in memory. Raises ``NoOperations``.
    """
    with locked(path.parent):
        try:
            return Index(path, files.fault)  # another process was faster
        except IndexMissing as missing:
            problem = str(missing)
        try:
            said = _build(path, store, files)
        except (IndexRefused, WriteError):
            memory = in_memory()
            index_schema.create_in(memory)
            index = Index(path, connection=memory)
            rebuild(index, store)
            remark(f"{problem}: the operation log is read in its place")
            return _reading_alone(index)
        remark("; ".join([problem, *said]))
        return Index(path, files.fault)


def reindex(folder: Path, fault: Fault | None = None) -> list[str]:
    """Build the index of a repository anew from its objects; returns what was done, in words.

    A sound file stays the same one, for those who have it open. Another one is kept aside. Raises
    ``NoOperations``.
    """
    files, path = Files(fault), folder / "index.db"
    with locked(folder), closing(DiskStore(folder / "objects", files)) as store:
        try:
            with closing(Index(path, fault)) as index:
                if index.version < VERSION:
                    index_schema.upgrade(index, store)
                if problems := index.unsound():
                    raise IndexDamaged(path, f"cannot be used: {problems[0]}")
                rebuilt = rebuild(index, store)
        except IndexDamaged as damage:
            return [str(damage), *_build(path, store, files)]
        return [f"the index {path} is built anew from the objects", *rebuilt.changed]


def _build(path: Path, store: DiskStore, files: Files) -> list[str]:
    """Build a new index at ``path``, and keep what is there aside; returns what was done."""
    draft = path.with_name(TEMPORARY_PREFIX + unique())
    try:
        index_schema.create(draft)
        with closing(Index(draft, files.fault)) as index:
            rebuilt = rebuild(index, store)
        kept = _set_aside(path, files)
        files.move(draft, path)
    except Exception:
        for suffix in BESIDE:
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)
        raise
    aside = [f"the old one is kept as {kept.name}"] if kept is not None else []
    return [f"it is built anew from the objects and {rebuilt.operations} operations", *aside]


def _set_aside(path: Path, files: Files) -> Path | None:
    """Give the files of a damaged database other names; returns the first, if there is one.

    The database goes before its log: without that it would be an older one, and look sound.
    """
    there = [path.with_name(path.name + suffix) for suffix in BESIDE]
    there = [file for file in there if file.is_file() and (file != path or file.stat().st_size)]
    number = 1
    while any(path.parent.glob(f"{path.name}.damaged-{number}*")):
        number += 1
    for file in there:
        kept = file.name.replace(path.name, f"{path.name}.damaged-{number}", 1)
        files.move(file, file.with_name(kept))
    return path.with_name(f"{path.name}.damaged-{number}") if there else None


def _reading_alone(index: Index) -> Index:
    """The same index, which refuses from here on what nobody else would get to see."""
    with index.guarded():
        index.connection.execute("PRAGMA query_only=ON")
    return index
