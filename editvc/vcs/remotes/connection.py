"""One remote in use: every request ends in time, and documents are checked before they are used."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from editvc.core.deadline import DeadlinePassed, within
from editvc.core.progress import Progress
from editvc.vcs.remote_sections import TIMEOUT
from editvc.vcs.remotes.document import Document, DocumentError, read_document
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


class Sent(Protocol):
    """A file of a place, under the digest of its bytes."""

    @property
    def name(self) -> str:
        """Where it is in the place."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...


class Connection:
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

    def document(self) -> Seen:
        """The document as it is now; nothing of it is checked."""
        return self._within("what is there", 0, self.transport.document)

    def swap_bytes(self, data: bytes, seen: Seen, sent: int = 0) -> None:
        """Put a document in the place of the one that was seen, behind ``sent`` bytes of files.

        Raises ``RemoteMoved``.
        """
        self._within("refs", len(data) + sent, lambda: self.transport.swap(data, seen))

    def send(self, one: Sent, file: Path) -> bool:
        """Send a file, unless it is there; returns whether it was sent."""
        if self._within("files", 0, lambda: self.transport.size(one.name)) == one.size:
            return False
        self._within("sending objects", one.size, lambda: self.transport.write(one.name, file))
        return True

    def stream(self, one: Sent) -> BinaryIO:
        """The bytes of a file, as many as it is listed with at most."""
        return cast(BinaryIO, _Stream(self, one))

    def part(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of a file."""
        read = self.transport.read
        return self._within("receiving", end - start, lambda: read(name, start, end))

    def copy(self, name: str, path: Path, most: int) -> None:
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


class Remote(Connection):
    """A remote of history in use."""

    def look(self) -> tuple[Document | None, Seen]:
        """The document, checked, and what to :meth:`swap` it for. Raises ``RemoteDamaged``."""
        seen = self.document()
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
        self.swap_bytes(document.encode(), seen, sum(pack.size for pack in document.packs[-1:]))


class _Stream(io.RawIOBase):
    """A pack that is read in chunks, each with its own deadline."""

    def __init__(self, remote: Connection, pack: Sent) -> None:
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
