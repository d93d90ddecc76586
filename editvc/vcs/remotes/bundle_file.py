"""A remote in one file, to be carried about: the document, and its packs behind it.

All integers are big-endian and unsigned::

    magic     8 bytes: "editvcb", and the version of the format, 1
    length    8 bytes: of the document
    document  as that of any remote
    packs     in the order in which the document lists them
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from editvc.vcs.files import Files
from editvc.vcs.remotes.document import LARGEST, Document, DocumentError, read_document
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError, RemoteUnreached, Seen

MAGIC = b"editvcb\x01"
HEAD = struct.Struct(">8sQ")


def write_bundle(path: Path, document: Document, packs: Sequence[Path], files: Files) -> None:
    """Write a bundle in the place of what is at ``path``, whole or not at all.

    ``packs`` are the files of those that the document lists. Raises ``WriteError``.
    """
    text = document.encode()

    def fill(stream: BinaryIO) -> None:
        stream.write(HEAD.pack(MAGIC, len(text)))
        stream.write(text)
        for pack in packs:
            with open(pack, "rb") as source:
                shutil.copyfileobj(source, stream)

    _, draft = files.draft(path.parent, fill)
    files.move(draft, path)


class BundleFile:
    """A bundle, read as any remote; nothing can be pushed to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def document(self) -> Seen:
        """See :meth:`Transport.document`. The file is as long as the document says."""
        magic, length = HEAD.unpack(self._bytes(0, HEAD.size).ljust(HEAD.size, b"\0"))
        if magic != MAGIC:
            raise RemoteDamaged(self.url, "is no bundle")
        if length > LARGEST:
            raise RemoteDamaged(self.url, f"has a document of more than {LARGEST} bytes")
        data = self._bytes(HEAD.size, HEAD.size + length)
        try:
            listed = read_document(data).packs
        except DocumentError as cause:
            raise RemoteDamaged(self.url, f"has a document that {cause}") from cause
        if HEAD.size + length + sum(pack.size for pack in listed) != self.path.stat().st_size:
            raise RemoteDamaged(self.url, "is cut short, or has something behind its packs")
        return Seen(data)

    def swap(self, data: bytes, seen: Seen) -> None:
        """Not in a file that others have copies of. Raises :class:`RemoteError`."""
        raise RemoteError(
            self.url,
            "is a bundle, which takes no push",
            hint="`editvc bundle create FILE` writes a new one.",
        )

    def size(self, name: str) -> int | None:
        """See :meth:`Transport.size`."""
        return self._places().get(name, (0, None))[1]

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :meth:`Transport.read`."""
        place, size = self._places()[name]
        return self._bytes(place + start, place + min(end, size))

    def write(self, name: str, file: Path) -> None:
        """As :meth:`swap`."""
        self.swap(b"", Seen(None))

    def _places(self) -> dict[str, tuple[int, int]]:
        """The offset and the length of each pack, by its name."""
        data = self.document().data or b""
        places, offset = dict[str, tuple[int, int]](), HEAD.size + len(data)
        for pack in read_document(data).packs:
            places[pack.name] = offset, pack.size
            offset += pack.size
        return places

    def _bytes(self, start: int, end: int) -> bytes:
        try:
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError as cause:
            problem = f"cannot be read: {cause.strerror or cause}"
            raise RemoteUnreached(self.url, problem) from cause
