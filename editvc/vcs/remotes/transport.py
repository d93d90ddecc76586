"""What a place must be able to do to be a remote: hold packs, and swap one small document.

A place knows nothing of what it holds. Packs are written once, under the digest of their bytes;
the document, which says what counts, is swapped by compare-and-swap. So whoever is stopped at any
moment leaves the document as it was, or as it was to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol

from editvc.errors import EditvcError

DOCUMENT = "editvc-remote.json"
"""The name of the document in a remote of history."""


class RemoteError(EditvcError):
    """A remote that cannot be used as asked. ``url`` is where it is, or should be."""

    def __init__(self, url: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{url}: {problem}", hint=hint)
        self.url = url


class RemoteUnreached(RemoteError):
    """No answer, or half of one: the network, the server, or the rights to it."""

    def __init__(self, url: str, problem: str, *, hint: str = "") -> None:
        super().__init__(
            url,
            problem,
            hint=hint
            or "Look at the network and at your access, then run the command again: what has "
            "arrived is not sent twice.",
        )


class RemoteDamaged(RemoteError):
    """What a remote holds is not what an editvc has written. Nothing of it was taken."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            url,
            problem,
            hint="Nothing was taken from it. Whoever keeps it may restore it from a copy, or make "
            "a new one with `editvc push`; do not trust one that you do not know.",
        )


class FileMissing(RemoteError):
    """A place has no file of a ``name``."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, f"has no {name}", hint="Look at the address.")
        self.name = name


class RemoteMoved(RemoteError):
    """Somebody else changed the remote first; nothing of ours is there."""

    exit_code: ClassVar[int] = 5

    def __init__(self, url: str) -> None:
        super().__init__(
            url,
            "somebody else pushed while this command was at work",
            hint="Run the command again; `editvc fetch` shows what is new.",
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """The document of a remote as it was read: its bytes, and what the place calls this state.

    ``data`` is ``None`` where there is no document yet.
    """

    data: bytes | None
    version: str = ""


def require_package(url: str, package: str, extra: str) -> None:
    """Raise :class:`RemoteError` unless a package of one of our extras is installed."""
    if find_spec(package) is None:
        hint = f"pip install 'editvc[{extra}]'"
        raise RemoteError(url, f"needs the package {package}", hint=hint)


class Transport(Protocol):
    """A place that can be a remote. All of these may raise :class:`RemoteUnreached`."""

    url: str

    def document(self) -> Seen:
        """The document as it is now."""
        ...

    def swap(self, data: bytes, seen: Seen) -> None:
        """Put ``data`` in the place of the document that was ``seen``, in one step.

        Raises :class:`RemoteMoved` where there is another one by now.
        """
        ...

    def size(self, name: str) -> int | None:
        """How many bytes a file has; ``None`` where it is not there, or not whole."""
        ...

    def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes of a file from ``start`` up to ``end``; fewer where it ends before.

        Raises :class:`FileMissing`, where the place can tell.
        """
        ...

    def write(self, name: str, file: Path) -> None:
        """Put a file there, whole or not at all; it is there after the next :meth:`swap`."""
        ...
