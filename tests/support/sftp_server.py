"""An SSH server on loopback that serves one folder over SFTP, as OpenSSH's does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def running_sftp(root: Path, home: Path) -> Iterator[str]:
    """The address of ``root`` over SFTP; ``home`` gets the server's key in its known hosts.

    Whoever comes is let in.
    """
    paramiko: Any = pytest.importorskip("paramiko")

    class Door(paramiko.ServerInterface):  # type: ignore[misc]
        def check_auth_publickey(self, username: str, key: object) -> int:
            return int(paramiko.AUTH_SUCCESSFUL)

        def check_channel_request(self, kind: str, channel: int) -> int:
            return int(paramiko.OPEN_SUCCEEDED)

    class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
        def _do(self, call: Any, *arguments: Any) -> int:
            try:
                call(*arguments)
            except OSError as error:
                return int(paramiko.SFTPServer.convert_errno(error.errno))
            return int(paramiko.SFTP_OK)

        def stat(self, path: str) -> Any:
            try:
                return paramiko.SFTPAttributes.from_stat(os.stat(path))
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        lstat = stat

        def open(self, path: str, flags: int, attributes: Any) -> Any:
            try:
                descriptor = os.open(path, flags, 0o644)
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)
            file = os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb")
            handle = paramiko.SFTPHandle(flags)
            handle.filename, handle.readfile, handle.writefile = path, file, file
            handle.stat = lambda: self.stat(path)
            return handle

        def mkdir(self, path: str, attributes: Any) -> int:
            return self._do(os.mkdir, path)

        def remove(self, path: str) -> int:
            return self._do(os.remove, path)

        def posix_rename(self, old: str, new: str) -> int:
            return self._do(os.replace, old, new)

    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    known = home / ".ssh" / "known_hosts"
    known.parent.mkdir(parents=True)
    known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    paramiko.ECDSAKey.generate().write_private_key_file(str(home / ".ssh" / "id_ecdsa"))
    open_ones: list[Any] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
            open_ones.append(transport)
            with suppress(EOFError, paramiko.SSHException):  # who came may go at once
                transport.start_server(server=Door())

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"ssh://ada@127.0.0.1:{port}{root}"
    finally:
        listener.close()
        for transport in open_ones:
            transport.close()
