"""One remote in use: every request ends in time, and documents are checked before they are used."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from editvc.core.deadline import DeadlinePassed, within
from editvc.core.progress import Progress
from editvc.vcs.remote_sections import TIMEOUT
from editvc.vcs.remotes.document import Document, DocumentError, Listed, read_document
from editvc.vcs.remotes.transport import (
    RemoteDamaged,
    RemoteError,
    RemoteUnreached,
    Seen,
    Transport,
)

T = TypeVar("T")

SLOWEST = 64 << 10
"""Bytes a second: a line, or a server, that is slower is given up."""
CHUNK = 2 << 20
"""Bytes that are asked for at once."""


class Remote:
    """A :class:`Transport` with deadlines: a request takes ``timeout`` seconds at most, and what
    its bytes take. All methods may raise ``RemoteUnreached``.
    """

    def __init__(
        self, transport: Transport, *, timeout: float = TIMEOUT, progress: Progress | None = None
    ) -> None:
        self.transport = transport
        self.timeout = timeout
        self.progress = progress

    @property
    def url(self) -> str:
        """Where it is."""
        return self.transport.url

    def look(self) -> tuple[Document | None, Seen]:
        """The document, checked, and what to :meth:`swap` it for. Raises ``RemoteDamaged``."""
        seen = self._within("the remote's refs", 0, self.transport.document)
        if seen.data is None:
            return None, seen
        try:
            return read_document(seen.data), seen
        except DocumentError as cause:
            raise RemoteDamaged(self.url, f"has a document that {cause}") from cause

    def require(self) -> Document:
        """The document of a remote that has one. Raises :class:`RemoteError`."""
        document, _ = self.look()
        if document is None:
            raise RemoteError(
                self.url,
                "there is no remote of editvc here, or nothing was pushed to it yet",
                hint="Look at the address; `editvc push` makes a remote. A published model is "
                "cloned by its name alone: USER/NAME.",
            )
        return document

    def swap(self, document: Document, seen: Seen) -> None:
        """Put a document in the place of the one that was seen. Raises ``RemoteMoved``."""
        data = document.encode()
        size = len(data) + sum(pack.size for pack in document.packs[-1:])
        self._within("refs", size, lambda: self.transport.swap(data, seen))

    def send(self, pack: Listed, file: Path) -> bool:
        """Send a pack, unless it is there; returns whether it was sent."""
        if self._within("packs", 0, lambda: self.transport.size(pack.name)) == pack.size:
            return False
        self._within("sending objects", pack.size, lambda: self.transport.write(pack.name, file))
        return True

    def stream(self, pack: Listed) -> BinaryIO:
        """The bytes of a pack, as many as it is listed with at most."""
        return cast(BinaryIO, _Stream(self, pack))

    def part(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of a file."""
        read = self.transport.read
        return self._within("receiving", end - start, lambda: read(name, start, end))

    def fetch(self, name: str, path: Path, most: int) -> None:
        """Copy a file, in parts that each have their deadline.

        Raises ``FileMissing``, and ``RemoteDamaged`` for one of more than ``most`` bytes.
        """
        place = 0
        with path.open("wb") as file:
            while part := self.part(name, place, place + CHUNK):
                place += file.write(part)
                if place > most:
                    raise RemoteDamaged(self.url, f"has a {name} of more than {most} bytes")
                if self.progress is not None:
                    self.progress(f"receiving {name}", place, place)
                if len(part) < CHUNK:
                    break

    def _within(self, label: str, size: int, call: Callable[[], T]) -> T:
        try:
            return within(self.timeout + size / SLOWEST, call, self.progress, label)
        except DeadlinePassed as cause:
            hint = "Try again; `editvc remote set-url NAME URL --timeout SECONDS` waits longer."
            raise RemoteUnreached(self.url, f"{cause} ({label})", hint=hint) from cause
        except OSError as cause:
            problem = str(cause.strerror or cause or type(cause).__name__)
            raise RemoteUnreached(self.url, problem) from cause


class _Stream(io.RawIOBase):
    """A pack that is read in chunks, each with its own deadline."""

    def __init__(self, remote: Remote, pack: Listed) -> None:
        self.remote = remote
        self.pack = pack
        self.place = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes: a chunk at most."""
        wanted = min(CHUNK, self.pack.size - self.place, CHUNK if size < 0 else size)
        if wanted <= 0:
            return b""
        data = self.remote.part(self.pack.name, self.place, self.place + wanted)
        self.place += len(data)
        if self.remote.progress is not None:
            self.remote.progress("receiving objects", self.place, self.pack.size)
        return data
