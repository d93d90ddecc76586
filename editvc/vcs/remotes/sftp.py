"""A remote in a folder of another machine, over SSH.

The document is written to a file beside it that must not be there (``.lock``), compared, and
renamed into its place: the renaming is the swap, as git's refs have it. Hosts must be in the user's
``known_hosts``; keys are those of the user's agent and folder.
"""

# mypy: disable-error-code="import-untyped,import-not-found,misc"
# The packages have no types, and may be absent.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from editvc.vcs.files import TEMPORARY_PREFIX, unique
from editvc.vcs.remotes.transport import (
    DOCUMENT,
    RemoteDamaged,
    RemoteError,
    RemoteMoved,
    RemoteUnreached,
    Seen,
    require_package,
)

SECONDS = 30
"""That the other machine may be silent for."""


class SftpFolder:
    """A remote at ``ssh://[USER@]HOST[:PORT]/PATH``; its parent folder must be there."""

    def __init__(self, url: str, *, document: str = DOCUMENT) -> None:
        self.url = url.rstrip("/")
        self.document_name = document
        try:
            parts = urlsplit(self.url)
            self.host, self.port, self.user = parts.hostname or "", parts.port, parts.username
        except ValueError as cause:
            raise RemoteError(url, f"is no address: {cause}") from cause
        self.folder = unquote(parts.path)
        if not self.host or self.folder in ("", "/"):
            raise RemoteError(url, "names no folder", hint="Write ssh://HOST/PATH.")
        require_package(url, "paramiko", "ssh")

    @cached_property
    def _files(self) -> Any:
        """The connection: paramiko's, of which fsspec's file system is a layer."""
        from fsspec.implementations.sftp import SFTPFileSystem

        asked = {"port": self.port, "username": self.user}
        more = {name: value for name, value in asked.items() if value}
        return SFTPFileSystem(
            self.host,
            host_key_policy=_known_hosts(),
            timeout=SECONDS,
            banner_timeout=SECONDS,
            auth_timeout=SECONDS,
            skip_instance_cache=True,
            **more,
        )

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def document(self) -> Seen:
        """See :meth:`Transport.document`."""
        with self._told():
            return Seen(self._whole(self.document_name))

    def swap(self, data: bytes, seen: Seen) -> None:
        """See :meth:`Transport.swap`."""
        lock = self._path(self.document_name + ".lock")
        with self._told():
            self._prepare()
            self._lock(lock, data)
            try:
                if self._whole(self.document_name) != seen.data:
                    raise RemoteMoved(self.url)
                self._files.ftp.posix_rename(lock, self._path(self.document_name))
            except BaseException:
                with suppress(OSError):
                    self._files.ftp.remove(lock)
                raise

    def _lock(self, lock: str, data: bytes) -> None:
        try:
            file = self._files.ftp.open(lock, "wxb")
        except OSError as cause:
            raise RemoteUnreached(
                self.url,
                f"{lock} cannot be made: {cause}",
                hint="Somebody is pushing. Try again; if nobody is, a push was cut off there: "
                "remove the file.",
            ) from cause
        with file:
            file.write(data)

    def _whole(self, name: str) -> bytes | None:
        try:
            with self._files.ftp.open(self._path(name), "rb") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        """See :meth:`Transport.size`."""
        with self._told():
            try:
                return int(self._files.ftp.stat(self._path(name)).st_size)
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :meth:`Transport.read`."""
        with self._told():
            try:
                with self._files.ftp.open(self._path(name), "rb") as file:
                    file.seek(start)
                    return bytes(file.read(end - start))
            except FileNotFoundError:
                raise RemoteDamaged(self.url, f"has no {name}, which it lists") from None

    def write(self, name: str, file: Path) -> None:
        """See :meth:`Transport.write`: under a temporary name, then renamed."""
        folder = name.rpartition("/")[0]
        draft = self._path(f"{folder}/{TEMPORARY_PREFIX}{unique()}")
        with self._told():
            self._prepare()
            self._make(self._path(folder))
            self._files.ftp.put(str(file), draft, confirm=True)
            self._files.ftp.posix_rename(draft, self._path(name))

    def _prepare(self) -> None:
        self._make(self.folder)

    def _make(self, folder: str) -> None:
        try:
            self._files.ftp.stat(folder)
        except FileNotFoundError:
            self._files.ftp.mkdir(folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What paramiko raises, in our words."""
        from paramiko import SSHException

        try:
            yield
        except (SSHException, OSError, EOFError) as cause:
            words = str(cause) or type(cause).__name__
            problem = f"the other machine was not reached: {words}"
            raise RemoteUnreached(self.url, problem) from cause


def _known_hosts() -> Any:
    """Hosts are those of ``~/.ssh/known_hosts``: an unknown one may be anybody."""
    from paramiko import HostKeys, MissingHostKeyPolicy, SSHException

    class KnownHosts(MissingHostKeyPolicy):
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            keys = HostKeys()
            with suppress(OSError):
                keys.load(str(Path("~/.ssh/known_hosts").expanduser()))
            if not keys.check(hostname, key):
                raise SSHException(
                    f"the key of {hostname} is not in ~/.ssh/known_hosts; `ssh {hostname}` adds it"
                )

    return KnownHosts()
