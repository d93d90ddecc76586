"""What can be computed again, kept for the next command. The folder may vanish at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from editvc.vcs.files import Files, WriteError, is_temporary
from editvc.version import __version__

DIGEST = 32
"""Bytes of sha256 before the content of a file."""


class Cache:
    """Files ``kind/name`` below ``folder``, made on first use.

    Each begins with a sha256 over the version of editvc and the rest: weights are computed from
    what is in here, and another version may compute it, or lay it out, in another way.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files

    def get(self, kind: str, name: str) -> bytes | None:
        """What is kept under a name; ``None`` where there is nothing, or nothing sound."""
        try:
            with (self.folder / kind / name).open("rb", buffering=0) as file:
                digest, data = file.read(DIGEST), file.read()
        except OSError:
            return None
        return data if _digest(data) == digest else None

    def put(self, kind: str, name: str, data: bytes) -> None:
        """Keep ``data`` under a name, in the place of what was there.

        What cannot be written is not kept: that costs the next command time, and this one nothing.
        """
        with suppress(WriteError):
            self.files.write(self.folder / kind / name, _digest(data) + data)

    def drop(self, kind: str, name: str) -> None:
        """Let go of what is kept under a name, if anything is."""
        with suppress(OSError):
            (self.folder / kind / name).unlink(missing_ok=True)

    def put_alone(self, kind: str, name: str, data: bytes) -> None:
        """:meth:`put`, and let go of all else of this kind."""
        self.put(kind, name, data)
        with suppress(OSError):
            for path in (self.folder / kind).iterdir():
                if path.name != name and not is_temporary(path.name):  # another may be writing it
                    path.unlink(missing_ok=True)

    def get_or_make(self, kind: str, name: str, make: Callable[[], bytes]) -> bytes:
        """What is kept under a name, or else what ``make`` returns, kept from now on."""
        data = self.get(kind, name)
        if data is None:
            data = make()
            self.put(kind, name, data)
        return data


def _digest(data: bytes) -> bytes:
    digest = sha256(__version__.encode())
    digest.update(data)
    return digest.digest()
