"""A lock on a folder: shared by many processes, or held by one. Who dies lets go."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class FolderLock:
    """``flock`` of one folder. Where the file system has none, nobody is known to be alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def share(self) -> None:
        """Hold it with others, from now on; waits while one holds it alone."""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def take(self) -> bool:
        """Hold it alone, if nobody else holds it now; whether that is so. Never waits."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let it go."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()
