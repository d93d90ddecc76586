"""A remote in a folder: on this disk, on a stick, or on a share that locks files."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editvc.vcs.files import Fault, Files
from editvc.vcs.remotes.transport import (
    DOCUMENT,
    RemoteDamaged,
    RemoteError,
    RemoteMoved,
    RemoteUnreached,
    Seen,
)


class Folder:
    """A remote in a folder, which the first push makes. Its parent must be there."""

    def __init__(self, path: Path, fault: Fault | None = None, *, document: str = DOCUMENT) -> None:
        self.path = path
        self.document_name = document
        self.url = str(path)
        self.files = Files(fault)

    def document(self) -> Seen:
        """See :meth:`Transport.document`."""
        data = self._read(self.document_name)
        return Seen(data)

    def swap(self, data: bytes, seen: Seen) -> None:
        """See :meth:`Transport.swap`. Who swaps holds a lock on the folder meanwhile."""
        self._prepare()
        with self._locked():
            if self._read(self.document_name) != seen.data:
                raise RemoteMoved(self.url)
            self.files.write(self.path / self.document_name, data)

    def size(self, name: str) -> int | None:
        """See :meth:`Transport.size`."""
        try:
            status = (self.path / name).lstat()
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :meth:`Transport.read`."""
        data = self._read(name, start, end)
        if data is None:
            raise RemoteDamaged(self.url, f"has no {name}, which it lists")
        return data

    def write(self, name: str, file: Path) -> None:
        """See :meth:`Transport.write`."""
        self._prepare()
        final = self.path / name
        with open(file, "rb") as source:
            _, draft = self.files.draft(final.parent, lambda to: shutil.copyfileobj(source, to))
        self.files.move(draft, final)

    def _prepare(self) -> None:
        if not self.path.parent.is_dir():
            raise RemoteError(
                self.url,
                "there is no folder that it could be made in",
                hint="Make the folder above it, or mount it.",
            )
        if not self.path.is_dir():
            self.files.make_folder(self.path)

    def _read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        """Bytes of a file; ``None`` where it is not there. Links lead elsewhere, pipes wait."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / name, flags)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise RemoteDamaged(self.url, f"has a {name} that is no regular file")
                file.seek(start)
                return file.read() if end is None else file.read(end - start)
        except FileNotFoundError:
            return None
        except OSError as cause:
            problem = f"{name} cannot be read: {cause.strerror or cause}"
            raise RemoteUnreached(self.url, problem) from cause

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else swaps meanwhile; a process that dies lets go."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as cause:
            problem = f"the folder cannot be locked: {cause.strerror or cause}"
            raise RemoteUnreached(self.url, problem) from cause
        try:
            yield
        finally:
            os.close(descriptor)
