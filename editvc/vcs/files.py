"""The only code that writes files: create, write, fsync, rename, fsync the folder.

A reader never sees half a file, and a file that :meth:`Files.write` has returned from survives
``kill -9`` and power loss. What an interrupted write leaves behind has a recognisable name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from editvc.errors import EditvcError

T = TypeVar("T")

Fault = Callable[[str], None]
"""Called with a step's name before the step is taken. Tests raise from it to stop there."""

TEMPORARY_PREFIX = ".tmp-"

OF_THE_MACHINE = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of reading that say something of the machine, and nothing of the file: it is no damage."""


class WriteError(EditvcError):
    """The file system refused a write. Nothing was changed under the file's own name."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(
            f"cannot write {path}: {cause.strerror or cause}",
            hint="Look at the free space and the permissions of the folder, then try again.",
        )
        self.path = path


class UnconfirmedError(WriteError):
    """A file has its new content, or is gone, and the disk did not confirm that it stays so."""

    def __init__(self, path: Path, cause: OSError) -> None:
        EditvcError.__init__(
            self,
            f"{path} was changed, and the disk does not confirm it: {cause.strerror or cause}",
            hint="Look at the disk, and then at what is there: `editvc status`, `editvc config`.",
        )
        self.path = path


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what an interrupted write left behind."""
    return name.startswith(TEMPORARY_PREFIX)


def temporaries(folder: Path) -> Iterator[Path]:
    """What interrupted writes left behind anywhere below a folder; a walk over texts is quick."""
    for place, folders, names in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *names) if is_temporary(name))


def unique() -> str:
    """16 hex digits that no other process has drawn (``secrets`` takes 10 ms to import)."""
    return os.urandom(8).hex()


def no_fault(step: str) -> None:
    """The fault hook of every run that is not a test: nothing happens."""


class Files:
    """Writes files so that they are whole or absent, whatever happens in between."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault: Fault = fault or no_fault

    def write(self, path: Path, data: bytes) -> None:
        """Put ``data`` under ``path``, replacing what was there in one step.

        Missing folders above it are made.

        Raises :class:`WriteError` where the file system refuses; the temporary file is then
        removed. A fault leaves it, as a killed process would. :class:`UnconfirmedError` is raised
        where the disk fails after that.
        """
        if not path.parent.is_dir():
            self.make_folder(path.parent)
        temporary = path.with_name(TEMPORARY_PREFIX + unique())
        with self._changing(path):
            try:
                self._write_and_rename(temporary, path, data)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    @contextmanager
    def _changing(self, path: Path) -> Iterator[None]:
        """What is done to ``path`` inside is durable when this ends.

        Its folder is opened before, so that nothing has changed where that is refused. Raises
        :class:`WriteError` for an ``OSError`` from inside, and :class:`UnconfirmedError`.
        """
        try:
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as cause:
            raise WriteError(path, cause) from cause
        try:
            try:
                yield
            except OSError as cause:
                raise WriteError(path, cause) from cause
            self.fault("fsync-folder")
            try:
                os.fsync(descriptor)
            except OSError as cause:
                raise UnconfirmedError(path, cause) from cause
        finally:
            os.close(descriptor)

    def draft(self, folder: Path, fill: Callable[[BinaryIO], T]) -> tuple[T, Path]:
        """Write a file whose name is not known yet, durably, under a temporary one in ``folder``.

        ``fill`` writes the content; returns what it returned, and the path, for :meth:`move`.
        Raises :class:`WriteError`, and errors of ``fill``: then nothing is left. A fault leaves the
        file, as a killed process would.
        """
        if not folder.is_dir():
            self.make_folder(folder)
        temporary = folder / (TEMPORARY_PREFIX + unique())
        try:
            return self._write(temporary, fill), temporary
        except OSError as cause:
            temporary.unlink(missing_ok=True)
            raise WriteError(folder, cause) from cause
        except EditvcError:
            temporary.unlink(missing_ok=True)
            raise

    def _write(self, temporary: Path, fill: Callable[[BinaryIO], T]) -> T:
        self.fault("create")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as stream:
            self.fault("write")
            filled = fill(stream)
            stream.flush()
            self.fault("fsync")
            os.fsync(descriptor)
        return filled

    def _write_and_rename(self, temporary: Path, path: Path, data: bytes) -> None:
        self._write(temporary, lambda stream: stream.write(data))
        self.fault("rename")
        os.replace(temporary, path)

    def make_folder(self, path: Path) -> None:
        """Make ``path`` a folder whose name in its parent survives power loss.

        An existing folder is settled too: whoever made it may have been stopped before that.
        """
        if not path.parent.is_dir():
            self.make_folder(path.parent)
        self.make_folders([path])

    def make_folders(self, paths: Sequence[Path]) -> None:
        """Make several folders in one parent, which exists; one fsync serves all."""
        with self._changing(paths[0]):
            for path in paths:
                self.fault("make-folder")
                path.mkdir(exist_ok=True)

    def settle(self, folder: Path) -> None:
        """Make the names in ``folder`` durable."""
        self.fault("fsync-folder")
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as cause:
            raise WriteError(folder, cause) from cause

    def move(self, path: Path, final: Path) -> None:
        """Give a whole file another name in its folder, in the place of what has it, in one step.

        Raises :class:`WriteError`.
        """
        with self._changing(final):
            self.fault("rename")
            os.replace(path, final)

    def remove(self, path: Path) -> None:
        """Take a file away for good, where it is there. Raises :class:`WriteError`."""
        if path.exists():
            with self._changing(path):
                self.fault("remove")
                path.unlink()

    def unlink(self, path: Path) -> None:
        """Take a file away, where it is there; :meth:`settle` makes it last.

        Raises :class:`WriteError`.
        """
        self.fault("remove")
        try:
            path.unlink(missing_ok=True)
        except OSError as cause:
            raise WriteError(path, cause) from cause

    def rename_folder(self, draft: Path, final: Path) -> None:
        """Give a finished folder its name, in one step. ``final`` must not exist yet."""
        self.settle(draft)
        with self._changing(final):
            self.fault("rename")
            draft.rename(final)
