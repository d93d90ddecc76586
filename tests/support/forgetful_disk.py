"""What a power cut may leave of a folder: what was flushed, and of the rest any part.

A file has the content of its last fsync, or of now, or of now in some of its sectors. A folder has
the names of its last fsync, each change since then on its own, but that one rename changes both of
its names. So a file that was renamed before it was flushed may be there and empty, and one that was
flushed in a folder that was not may be gone: what POSIX promises, and no more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path

from file_calls import heard

SECTOR = 512
FEW = 4
"""So many changes of names are combined in all ways; of more, each alone and all but each."""

State = Mapping[str, bytes | None]
"""A folder after a cut: by path below it, the content of a file, or None for a folder."""


@dataclass(frozen=True)
class Node:
    """A file with its ``content``, or a folder with the inodes of its ``names``."""

    content: bytes | None = None
    names: Mapping[str, int] = field(default_factory=dict)


Nodes = dict[int, Node]


class ForgetfulDisk:
    """The folder ``root``, listened to while :meth:`watching`.

    ``cuts`` are the states that a cut before some call could leave, with how many acknowledgements
    (:meth:`acknowledge`) were given by then; each state once for each number.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: Nodes = {}
        self.cuts: dict[tuple[int, str], State] = {}
        self.acknowledged = 0
        self._begun: set[str] = set()
        self._bytes: dict[int, bytes] = {}
        self.kept = self._now()

    def watching(self) -> AbstractContextManager[None]:
        """Inside, each call is a moment at which power may be cut. All before it is on the disk."""
        return heard(self._hear)

    def acknowledge(self) -> None:
        """What was done is told to the user: from here on it must be there."""
        self.cut()
        self.acknowledged += 1
        self.cut()

    def cut(self) -> None:
        """Add the states that a cut at this moment could leave."""
        for state in _possible(self.kept, self._now(), self._inode(self.root)):
            self.cuts.setdefault((self.acknowledged, _digest(state)), state)

    def _hear(self, call: str, path: str) -> None:
        if path and not Path(path).is_relative_to(self.root):
            return
        inode = self._inode(path)
        if call == "sqlite-open":
            if inode is None:
                self._begun.add(path)
        elif call in ("fsynced", "sqlite-synced"):
            self._flushed(path)
        elif call == "sqlite-removed":
            self._flushed(os.path.dirname(path))
        elif call != "open":
            self.cut()
        if call in ("create", "truncate", "sqlite-write", "sqlite-truncate", "remove"):
            self._bytes.pop(inode or 0, None)

    def _flushed(self, path: str) -> None:
        inode = self._inode(path)
        if inode is None:
            return
        if os.path.isdir(path):
            self.kept[inode] = Node(names=_names(path))
        else:
            self._bytes[inode] = Path(path).read_bytes()
            self.kept[inode] = Node(self._bytes[inode])
        if path in self._begun:  # SQLite flushes the folder of a log that it has made
            self._begun.remove(path)
            if path.endswith(("-wal", "-journal")):
                self._flushed(os.path.dirname(path))

    def _inode(self, path: str | Path) -> int | None:
        try:
            return os.lstat(path).st_ino
        except OSError:
            return None

    def _now(self) -> Nodes:
        """All that is there. Files that were flushed, and not opened to write since, are known."""
        nodes, waiting = Nodes(), [str(self.root)]
        while waiting:
            folder = waiting.pop()
            names = {}
            for entry in os.scandir(folder):
                names[entry.name] = inode = entry.inode()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.name.endswith("-shm"):  # shared memory, made anew after a cut
                    content = self._bytes.get(inode)
                    nodes[inode] = Node(
                        Path(entry.path).read_bytes() if content is None else content
                    )
            nodes[os.lstat(folder).st_ino] = Node(
                names={name: inode for name, inode in names.items() if not name.endswith("-shm")}
            )
        return nodes


def _names(folder: str) -> dict[str, int]:
    return {
        entry.name: entry.inode() for entry in os.scandir(folder) if not entry.name.endswith("-shm")
    }


def _possible(kept: Nodes, now: Nodes, root: int) -> Iterator[State]:
    groups = _changes(kept, now)
    if len(groups) <= FEW:
        chosen = chain.from_iterable(combinations(groups, size) for size in range(len(groups) + 1))
    else:
        each = [[one] for one in groups]
        but_each = [[two for two in groups if two is not one] for one in groups]
        chosen = chain([(), groups], each, but_each)
    names = {inode: dict(node.names) for inode, node in kept.items() if node.content is None}
    contents = [
        {inode: written(inode, kept, now) for inode in kept.keys() | now.keys()}
        for written in (_old, _new, _torn)
    ]
    for changes in chosen:
        folders = {inode: dict(there) for inode, there in names.items()}
        for folder, name, inode in chain.from_iterable(changes):
            if inode is None:
                folders.setdefault(folder, {}).pop(name, None)
            else:
                folders.setdefault(folder, {})[name] = inode
        for content in contents:
            yield dict(_walk(folders, content, root, ""))


Change = tuple[int, str, int | None]
"""The inode of a folder, a name in it, and the inode that has the name now."""


def _changes(kept: Nodes, now: Nodes) -> list[list[Change]]:
    """The names that changed since their folders were flushed; what a rename ties is together."""
    groups: list[tuple[set[int], list[Change]]] = []
    for folder, node in now.items():
        if node.content is not None:
            continue
        before = kept.get(folder, Node()).names
        for name in sorted(before.keys() | node.names.keys()):
            old, new = before.get(name), node.names.get(name)
            if old == new:
                continue
            tied, changes = {one for one in (old, new) if one is not None}, [(folder, name, new)]
            for other in [one for one in groups if one[0] & tied]:
                groups.remove(other)
                tied, changes = tied | other[0], other[1] + changes
            groups.append((tied, changes))
    return [changes for _, changes in groups]


def _old(inode: int, kept: Nodes, now: Nodes) -> bytes | None:
    node = kept.get(inode)
    if node is None:
        return b"" if now[inode].content is not None else None
    return node.content


def _new(inode: int, kept: Nodes, now: Nodes) -> bytes | None:
    return now.get(inode, kept.get(inode, Node())).content


def _torn(inode: int, kept: Nodes, now: Nodes) -> bytes | None:
    """Every other sector is that of now; what was never written in the others is zero."""
    old, new = _old(inode, kept, now), _new(inode, kept, now)
    if old == new or old is None or new is None:
        return new
    sectors = []
    for number, start in enumerate(range(0, len(new), SECTOR)):
        end = min(len(new), start + SECTOR)
        lost = old[start:end].ljust(end - start, b"\0")
        sectors.append(lost if number % 2 else new[start:end])
    return b"".join(sectors)


def _walk(
    folders: Mapping[int, Mapping[str, int]],
    contents: Mapping[int, bytes | None],
    folder: int,
    prefix: str,
) -> Iterator[tuple[str, bytes | None]]:
    for name, inode in sorted(folders.get(folder, {}).items()):
        content = contents.get(inode)
        yield prefix + name, content
        if content is None:
            yield from _walk(folders, contents, inode, f"{prefix}{name}/")


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for path, content in state.items():
        digest.update(path.encode() + b"\0")
        digest.update(b"folder" if content is None else hashlib.sha256(content).digest())
    return digest.hexdigest()


def restore(state: State, to: Path) -> None:
    """Make a folder as a cut left it."""
    to.mkdir()
    for path, content in state.items():
        if content is None:
            (to / path).mkdir()
        else:
            (to / path).write_bytes(content)
