"""Packs: many objects in one file, with an index behind them.

All integers are big-endian and unsigned::

    magic    8 bytes: "editvcp", and the version of the format, 1
    bodies   the objects, one behind the other: as they are, or deflated where that is shorter
    fan-out  256 x 4 bytes: how many ids have a first byte of at most 0, 1, ... 255
    ids      n x 32 bytes, in rising order
    places   n x 3 x 8 bytes, as the ids: offset, stored length, length of the object; where these
             two differ, the body is deflated (zlib)
    count    8 bytes: n
    digest   32 bytes: sha256 of all before; it names the file

So a pack is written in one go, and says itself whether it is whole. Its objects are verified one by
one, by their own ids, when they are read.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from heapq import merge
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from editvc.core.ids import ObjectId, object_id, short
from editvc.core.tensor_header import is_tensor_file
from editvc.errors import DamageError
from editvc.vcs.files import OF_THE_MACHINE

MAGIC = b"editvcp\x01"
FAN_OUT = struct.Struct(">256I")
PLACE = struct.Struct(">3Q")
COUNT = struct.Struct(">Q")
ID = 32
"""Bytes of an id, and of a digest."""

LEAST = len(MAGIC) + FAN_OUT.size + COUNT.size + ID
"""Bytes of a pack of nothing."""

MOST_DEFLATED = 64 << 20
"""Bytes of an object that is deflated: longer ones are stored as they are."""

PACK_NAME = re.compile(r"[0-9a-f]{64}\.pack")
CHUNK = 1 << 20


class PackDamaged(DamageError):
    """A pack that is not what was written. ``path`` is its file."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"the pack {path} {problem}",
            hint="`editvc fsck` names the objects that are lost with it; copy the file from a "
            "backup or another clone.",
        )
        self.path = path
        self.problem = problem


class Place(NamedTuple):
    """Where an object lies: offset and length of its body, and its own length, in bytes."""

    offset: int
    stored: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind the body."""
        return self.offset + self.stored


class Pack:
    """One open pack. It stays readable when its file is replaced or removed meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open a pack, and see that its parts fit each other; no object is read yet.

        Raises :class:`PackDamaged`, and ``OSError`` for what cannot be read at all.
        """
        self.path = path
        self._bytes = _mapped(path)
        self.size = size = len(self._bytes)
        if size < LEAST:
            raise PackDamaged(path, "is cut short")
        if self._bytes[: len(MAGIC)] != MAGIC:
            raise PackDamaged(path, "is of no known format")
        self.count = int(COUNT.unpack_from(self._bytes, size - ID - COUNT.size)[0])
        self._places = size - ID - COUNT.size - PLACE.size * self.count
        self._ids = self._places - ID * self.count
        self.bodies_end = self._ids - FAN_OUT.size
        if self.bodies_end < len(MAGIC):
            raise PackDamaged(path, f"is too short for the {self.count} objects it speaks of")
        self._fan_out = FAN_OUT.unpack_from(self._bytes, self.bodies_end)
        if [*self._fan_out] != sorted(self._fan_out) or self._fan_out[-1] != self.count:
            raise PackDamaged(path, "has an index that does not hold together")

    def __len__(self) -> int:
        return self.count

    def __contains__(self, identifier: ObjectId) -> bool:
        return self._row(identifier) is not None

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """All ids that begin with ``prefix``, in rising order."""
        for row in range(self._first(prefix.ljust(2 * ID, "0")), self.count):
            identifier = self._id(row)
            if not identifier.startswith(prefix):
                return
            yield identifier

    def get(self, identifier: ObjectId) -> bytes | None:
        """The bytes of an object, verified; ``None`` where the pack has none of this id.

        Raises :class:`PackDamaged`.
        """
        row = self._row(identifier)
        if row is None:
            return None
        data = self._read(identifier, self.place(row))
        if object_id(data) != identifier:
            raise PackDamaged(self.path, f"has other bytes than those of {short(identifier)}")
        return data

    def holds(self, identifier: ObjectId) -> bool:
        """Whether the pack has this object, and has it sound."""
        try:
            return self.get(identifier) is not None
        except PackDamaged:
            return False

    def place(self, row: int) -> Place:
        """Where the object of the ``row``-th id lies."""
        return Place(*PLACE.unpack_from(self._bytes, self._places + PLACE.size * row))

    @property
    def digest(self) -> ObjectId:
        """What the pack says of itself: :meth:`whole` checks it."""
        return ObjectId(self._bytes[-ID:].hex())

    @property
    def name(self) -> str:
        """What its file is called in a store."""
        return f"{self.digest}.pack"

    def whole(self) -> bool:
        """Whether the bytes of the file are those that were written. Reads all of them."""
        digest = sha256()
        end = len(self._bytes) - ID
        for start in range(0, end, CHUNK):
            digest.update(self._bytes[start : min(start + CHUNK, end)])
        return digest.hexdigest() == self.digest

    def close(self) -> None:
        """Give the file back; the pack cannot be used afterwards."""
        self._bytes.close()

    def _read(self, identifier: ObjectId, place: Place) -> bytes:
        if place.offset < len(MAGIC) or place.end > self.bodies_end:
            raise PackDamaged(self.path, f"has {short(identifier)} where no object can be")
        body = self._bytes[place.offset : place.end]
        if place.stored == place.length:
            return body
        if not place.stored < place.length <= MOST_DEFLATED:
            raise PackDamaged(self.path, f"has no possible length of {short(identifier)}")
        inflating = zlib.decompressobj()
        try:
            data = inflating.decompress(body, place.length + 1)
        except zlib.error as cause:
            problem = f"cannot be inflated at {short(identifier)}: {cause}"
            raise PackDamaged(self.path, problem) from cause
        if len(data) != place.length or not inflating.eof or inflating.unused_data:
            raise PackDamaged(self.path, f"inflates to another length of {short(identifier)}")
        return data

    def _id(self, row: int) -> ObjectId:
        start = self._ids + ID * row
        return ObjectId(self._bytes[start : start + ID].hex())

    def _row(self, identifier: ObjectId) -> int | None:
        row = self._first(identifier)
        return row if row < self.count and self._id(row) == identifier else None

    def _first(self, identifier: str) -> int:
        """The first row whose id is ``identifier`` or comes after it."""
        wanted = bytes.fromhex(identifier)
        low = self._fan_out[wanted[0] - 1] if wanted[0] else 0
        high = self._fan_out[wanted[0]]
        while low < high:
            middle = (low + high) // 2
            start = self._ids + ID * middle
            if self._bytes[start : start + ID] < wanted:
                low = middle + 1
            else:
                high = middle
        return low


def _mapped(path: Path) -> mmap.mmap:
    # Links lead elsewhere, and a pipe or a device would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PackDamaged(path, "is no regular file")
        if not status.st_size:
            raise PackDamaged(path, "is cut short")
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def write_pack(stream: BinaryIO, objects: Iterable[tuple[ObjectId, bytes]]) -> ObjectId:
    """Write a pack of ``objects`` (id, bytes) to a stream; returns the digest that names it.

    Bodies come in the order given, of an id given twice the first. Equal objects in equal order
    give equal packs, on machines whose zlib is the same.
    """
    digest, offset = sha256(), 0

    def write(data: bytes) -> None:
        nonlocal offset
        stream.write(data)
        digest.update(data)
        offset += len(data)

    write(MAGIC)
    places: dict[bytes, Place] = {}
    for identifier, data in objects:
        name = bytes.fromhex(identifier)
        if name not in places:
            body = _body(data)
            places[name] = Place(offset, len(body), len(data))
            write(body)
    rows = sorted(places.items())
    counts = [0] * 256
    for name, _ in rows:
        counts[name[0]] += 1
    write(FAN_OUT.pack(*accumulate(counts)))
    write(b"".join(name for name, _ in rows))
    write(b"".join(PLACE.pack(*place) for _, place in rows))
    write(COUNT.pack(len(rows)))
    stream.write(digest.digest())
    return ObjectId(digest.hexdigest())


def _body(data: bytes) -> bytes:
    """What is stored of an object. Numbers do not get shorter: trying that takes its time."""
    if is_tensor_file(data) or len(data) > MOST_DEFLATED:
        return data
    deflated = zlib.compress(data)
    return deflated if len(deflated) < len(data) else data


class PackFolder:
    """The packs of a store. The folder is read again where something is not found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Pack] | None = None

    def get(self, identifier: ObjectId) -> bytes | None:
        """The bytes of an object from a pack that has it sound; ``None`` where none has it.

        Raises :class:`PackDamaged` where all that have it are damaged.
        """
        damage: PackDamaged | None = None
        for packs in (self._known, *[self.all] * LOOKS):  # others may pack and merge meanwhile
            for pack in packs():
                try:
                    data = pack.get(identifier)
                except PackDamaged as error:
                    damage = error
                    continue
                if data is not None:
                    return data
        if damage is not None:
            raise damage
        return None

    def contains(self, identifier: ObjectId) -> bool:
        """Whether a pack lists this id (not whether it is sound)."""
        looks = (self._known, *[self.all] * LOOKS)
        return any(identifier in pack for packs in looks for pack in packs())

    def freshened(self, identifier: ObjectId) -> bool:
        """Whether a known pack has this object sound, and counts as written to just now."""
        return any(pack.holds(identifier) and freshened(pack.path) for pack in self._known())

    def ids(self, prefix: str = "") -> Iterator[ObjectId]:
        """All ids that begin with ``prefix``, in rising order; once for each pack that has it."""
        return merge(*(pack.ids(prefix) for pack in self.all()))

    def all(self) -> list[Pack]:
        """The packs that can be opened, as the folder is now. Others are in :meth:`unsound`."""
        return [pack for pack in self._listed().values() if isinstance(pack, Pack)]

    def unsound(self) -> list[PackDamaged]:
        """What is wrong with each pack that cannot be opened."""
        return [pack for pack in self._listed().values() if isinstance(pack, PackDamaged)]

    def _known(self) -> list[Pack]:
        """The packs as they were when the folder was read last."""
        return self.all() if self._open is None else [*self._open.values()]

    def _listed(self) -> dict[str, Pack | PackDamaged]:
        """The packs by their names, each opened once."""
        known, listed = self._open or {}, dict[str, Pack | PackDamaged]()
        for name in _names(self.folder):
            try:
                listed[name] = known.get(name) or Pack(self.folder / name)
            except FileNotFoundError:
                return self._listed()  # what it held is in another one now
            except PackDamaged as error:
                listed[name] = error
            except OSError as cause:
                if cause.errno in OF_THE_MACHINE:
                    raise  # nothing is known to be damaged
                problem = f"cannot be read: {cause.strerror or cause}"
                listed[name] = PackDamaged(self.folder / name, problem)
        self._open = {name: pack for name, pack in listed.items() if isinstance(pack, Pack)}
        return listed


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if PACK_NAME.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


LOOKS = 4
"""How often packs are listed anew for an object: one that is merged away between its listing and
its opening has its objects in a pack that the next listing shows."""


def freshened(path: Path) -> bool:
    """Give a file today's time, so that ``gc`` sees that it is wanted; whether it is there."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True
