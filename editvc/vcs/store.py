"""Where objects live: immutable bytes under their own sha256, verified on every read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from heapq import merge
from pathlib import Path
from typing import Protocol

from editvc.core.cut import cut
from editvc.core.ids import ObjectId, object_id, short
from editvc.errors import DamageError, EditvcError
from editvc.vcs.files import OF_THE_MACHINE, Files
from editvc.vcs.folder_lock import FolderLock
from editvc.vcs.packs import PACK_NAME, PackDamaged, PackFolder, freshened

FSCK_HINT = "Run `editvc fsck` to see what is damaged; writing the object again heals it."

WRITERS = 8

PACKS = "pack"
"""The folder of packs, beside those of objects in files of their own."""

DIGITS = re.compile("[0-9a-f]{64}")


class ObjectDamaged(DamageError):
    """An object that cannot be given out. ``id`` is its address, ``path`` where it should be."""

    def __init__(self, identifier: ObjectId, problem: str, path: Path | None = None) -> None:
        place = f" ({path})" if path is not None else ""
        super().__init__(f"object {short(identifier)} {problem}{place}", hint=FSCK_HINT)
        self.id = identifier
        self.path = path


class ObjectMissing(ObjectDamaged):
    """Nothing is stored under an id that something else refers to."""

    def __init__(self, identifier: ObjectId, path: Path | None = None) -> None:
        super().__init__(identifier, "is missing", path)


class NoObjectId(ObjectDamaged):
    """What should name an object is not 64 hexadecimal digits: a path it could be, and is not."""

    def __init__(self, identifier: str) -> None:
        shown = ascii(cut(identifier))
        super().__init__(ObjectId(shown), "is named, which is no object's id")


class ObjectCorrupt(ObjectDamaged):
    """The bytes under an id are not those that were written: their sha256 is another one."""

    def __init__(self, identifier: ObjectId, path: Path | None = None) -> None:
        super().__init__(identifier, "is corrupt: its bytes do not have its sha256", path)


class ObjectRefused(EditvcError):
    """The machine does not let an object be read: nothing is known to be damaged."""

    def __init__(self, identifier: ObjectId, path: Path, cause: OSError) -> None:
        super().__init__(
            f"object {short(identifier)} cannot be read: {cause.strerror or cause} ({path})",
            hint="Look at the disk, at the memory, and at how many files are open (`ulimit -n`), "
            "then try again.",
        )
        self.id = identifier
        self.path = path


class ObjectStore(Protocol):
    """What the rest of editvc knows about storage."""

    def put(self, data: bytes) -> ObjectId:
        """Store ``data`` and return its address. Again with the same bytes changes nothing,
        except that a damaged copy is replaced.
        """
        ...

    def put_all(self, objects: Iterable[bytes]) -> list[ObjectId]:
        """:meth:`put` of each, in any order of writing; much faster than one after another."""
        ...

    def get(self, identifier: ObjectId) -> bytes:
        """The bytes of an object. Raises :class:`ObjectDamaged` or :class:`ObjectRefused`."""
        ...

    def remove(self, identifier: ObjectId) -> None:
        """Take an object away, where it is there: nothing may lead to it."""
        ...

    def contains(self, identifier: ObjectId) -> bool:
        """Whether something is stored under this id (not whether it is sound)."""
        ...

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """All ids that begin with ``prefix``, in rising order."""
        ...


class MemoryStore:
    """Objects in a dict, for tests and for previews that shall leave no trace."""

    def __init__(self) -> None:
        self.objects: dict[ObjectId, bytes] = {}

    def put(self, data: bytes) -> ObjectId:
        """See :meth:`ObjectStore.put`."""
        identifier = object_id(data)
        self.objects[identifier] = bytes(data)
        return identifier

    def put_all(self, objects: Iterable[bytes]) -> list[ObjectId]:
        """See :meth:`ObjectStore.put_all`."""
        return [self.put(data) for data in objects]

    def get(self, identifier: ObjectId) -> bytes:
        """See :meth:`ObjectStore.get`."""
        data = self.objects.get(identifier)
        if data is None:
            raise ObjectMissing(identifier)
        if object_id(data) != identifier:
            raise ObjectCorrupt(identifier)
        return data

    def remove(self, identifier: ObjectId) -> None:
        """See :meth:`ObjectStore.remove`."""
        self.objects.pop(identifier, None)

    def contains(self, identifier: ObjectId) -> bool:
        """See :meth:`ObjectStore.contains`."""
        return identifier in self.objects

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """See :meth:`ObjectStore.ids`."""
        return iter(sorted(one for one in self.objects if one.startswith(prefix)))


class DiskStore:
    """Objects as files ``ab/cdef...`` below ``folder``, named by their sha256, or in ``packs``.

    What is in a pack and in a file of its own is one object; either copy is as good.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files
        self._prefix = f"{folder}/"
        self.packs = PackFolder(folder / PACKS)
        self._lock = FolderLock(folder)

    def prepare(self) -> None:
        """Make the folder and all 256 below it, so that most writes need not make one."""
        self.files.make_folder(self.folder)
        self.files.make_folders([self.folder / f"{number:02x}" for number in range(256)])

    def path(self, identifier: ObjectId) -> Path:
        """Where the object is, or would be. Raises :class:`NoObjectId` for what names none."""
        if DIGITS.fullmatch(identifier) is None:
            raise NoObjectId(identifier)
        return self.folder / identifier[:2] / identifier[2:]

    def put(self, data: bytes) -> ObjectId:
        """See :meth:`ObjectStore.put`. When this returns, the object survives power loss."""
        self._lock.share()
        identifier = object_id(data)
        path = self.path(identifier)
        if self._holds(path, data) and freshened(path):
            # Its writer may have been killed between rename and fsync; we vouch for it now.
            self.files.settle(path.parent)
        elif not self.packs.freshened(identifier):
            self.files.write(path, data)
        return identifier

    def put_all(self, objects: Iterable[bytes]) -> list[ObjectId]:
        """See :meth:`ObjectStore.put_all`.

        Threads, because the file system joins fsyncs that wait at the same time: 200 objects in
        0.1 s instead of 2 s (measured on ext4).
        """
        from concurrent.futures import ThreadPoolExecutor  # brings logging, which `log` can spare

        self._lock.share()  # one for all threads
        with ThreadPoolExecutor(WRITERS) as writers:
            return list(writers.map(self.put, objects))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other store has written to this folder and is still open; none does inside.

        Who wants to write meanwhile waits.
        """
        try:
            yield self._lock.take()
        finally:
            self._lock.release()

    def open(self) -> None:
        """Say that objects are going to be written: from here on ``gc`` drops none. So does the
        first :meth:`put`; who brings objects in another way, or relies on what nothing leads to,
        says it.
        """
        self._lock.share()

    def close(self) -> None:
        """Say that nothing more is going to be written. What was read stays valid."""
        self._lock.release()

    @staticmethod
    def _holds(path: Path, data: bytes) -> bool:
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except OSError:  # absent, or unreadable and then to be replaced
            return False

    def get(self, identifier: ObjectId) -> bytes:
        """See :meth:`ObjectStore.get`. Of several copies, one that is sound."""
        try:
            return self._loose(identifier)
        except ObjectDamaged as error:
            try:
                data = self.packs.get(identifier)
            except PackDamaged as damage:
                raise ObjectCorrupt(identifier, damage.path) from damage
            if data is None:
                raise error
            return data

    def strictly(self, identifier: ObjectId) -> bytes:
        """:meth:`get` of an object whose own file, where it has one, has to be sound."""
        try:
            return self._loose(identifier)
        except ObjectMissing:
            return self.get(identifier)

    def _loose(self, identifier: ObjectId) -> bytes:
        """The bytes of the file of an object."""
        if DIGITS.fullmatch(identifier) is None:
            raise NoObjectId(identifier)
        path = f"{self._prefix}{identifier[:2]}/{identifier[2:]}"  # a Path takes 20 microseconds
        try:
            # Links lead elsewhere, and a pipe or a device would be waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ObjectDamaged(identifier, "is no regular file", Path(path))
                data = file.read()
        except FileNotFoundError:
            raise ObjectMissing(identifier, Path(path)) from None
        except OSError as cause:
            if cause.errno in OF_THE_MACHINE:
                raise ObjectRefused(identifier, Path(path), cause) from cause
            problem = f"cannot be read: {cause.strerror or cause}"
            raise ObjectDamaged(identifier, problem, Path(path)) from cause
        if object_id(data) != identifier:
            raise ObjectCorrupt(identifier, Path(path))
        return data

    def remove(self, identifier: ObjectId) -> None:
        """See :meth:`ObjectStore.remove`."""
        self.files.remove(self.path(identifier))

    def contains(self, identifier: ObjectId) -> bool:
        """See :meth:`ObjectStore.contains`."""
        return self.path(identifier).is_file() or self.packs.contains(identifier)

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """See :meth:`ObjectStore.ids`."""
        # Files first: what comes into a pack meanwhile is gone from its file only after that.
        loose = list(self.loose_ids(prefix))
        before = None
        for identifier in merge(loose, self.packs.ids(prefix)):
            if identifier != before:
                yield identifier
            before = identifier

    def loose_ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """As :meth:`ids`, of what has a file of its own."""
        for folder, name in self._names(prefix[:2]):
            if is_object_name(folder, name) and f"{folder}{name}".startswith(prefix):
                yield ObjectId(f"{folder}{name}")

    def strays(self) -> Iterator[Path]:
        """Files below the folder that are no objects: what interrupted writes left behind."""
        for folder, name in self._names():
            if not (is_object_name(folder, name) or is_pack_name(folder, name)):
                yield self.folder / folder / name

    def _names(self, start: str = "") -> Iterator[tuple[str, str]]:
        """What is in folders whose names begin with ``start``, and beside them, in order.

        As texts: making a Path of each name is most of what a look at all of them would take.
        """
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        for folder in names:
            if not folder.startswith(start):
                continue
            try:
                inside = sorted(os.listdir(f"{self._prefix}{folder}"))
            except NotADirectoryError:
                yield "", folder
            else:
                yield from ((folder, name) for name in inside)


class ScratchStore(DiskStore):
    """Objects of another store, and beside them, in memory, what is put into this one: for what
    nobody has asked to keep.
    """

    def __init__(self, below: DiskStore) -> None:
        super().__init__(below.folder, below.files)
        self.below = below
        self.written = MemoryStore()

    def put(self, data: bytes) -> ObjectId:
        """See :meth:`ObjectStore.put`; nothing outlives the process."""
        return self.written.put(data)

    def put_all(self, objects: Iterable[bytes]) -> list[ObjectId]:
        """See :meth:`ObjectStore.put_all`."""
        return self.written.put_all(objects)

    def get(self, identifier: ObjectId) -> bytes:
        """See :meth:`ObjectStore.get`."""
        if self.written.contains(identifier):
            return self.written.get(identifier)
        return self.below.get(identifier)

    def remove(self, identifier: ObjectId) -> None:
        """See :meth:`ObjectStore.remove`."""
        self.written.remove(identifier)

    def contains(self, identifier: ObjectId) -> bool:
        """See :meth:`ObjectStore.contains`."""
        return self.written.contains(identifier) or self.below.contains(identifier)

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """See :meth:`ObjectStore.ids`."""
        return iter(sorted({*self.written.ids(prefix), *self.below.ids(prefix)}))


def is_object_name(folder: str, name: str) -> bool:
    """Whether a file of a name, in a folder of a name, is an object's: 2 and 62 hex digits."""
    return len(folder) == 2 and DIGITS.fullmatch(folder + name) is not None


def is_pack_name(folder: str, name: str) -> bool:
    """Whether a file of a name, in a folder of a name, is a pack."""
    return folder == PACKS and PACK_NAME.fullmatch(name) is not None
