"""Places for remotes: the servers that tests run themselves, and a place that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from editvc.vcs.remotes.folder import Folder
from editvc.vcs.remotes.transport import RemoteUnreached, Seen, Transport


@contextmanager
def running_s3() -> Iterator[str]:
    """The address of an S3 store on loopback, with a bucket called ``bucket``."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    from s3fs import S3FileSystem

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        store = S3FileSystem(
            key="k", secret="s", client_kwargs={"endpoint_url": url, "region_name": "us-east-1"}
        )
        store.call_s3("create_bucket", Bucket="bucket")
        yield url
    finally:
        server.stop()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, token: str = "hf_alice") -> None:
    """Let the Hub's client speak to a server on loopback, as HF_ENDPOINT does at its start."""
    constants = huggingface_hub.constants
    path = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + path)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setenv("HF_TOKEN", token)


def use_s3(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let S3's client speak to a server on loopback."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


class Failing:
    """A folder whose ``n``-th call fails, before or after it has done what was asked."""

    def __init__(self, path: Path, n: int, *, done: bool) -> None:
        self.inner = Folder(path)
        self.url = self.inner.url
        self.left, self.done = n, done
        self.calls = 0

    def _call(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        self.left -= 1
        if self.left == 0 and not self.done:
            raise RemoteUnreached(self.url, "the line was cut")
        result = call(*arguments)
        if self.left == 0:
            raise RemoteUnreached(self.url, "the line was cut")
        return result

    def document(self) -> Seen:
        return self._call(self.inner.document)

    def swap(self, data: bytes, seen: Seen) -> None:
        self._call(self.inner.swap, data, seen)

    def size(self, name: str) -> int | None:
        return self._call(self.inner.size, name)

    def read(self, name: str, start: int, end: int) -> bytes:
        return self._call(self.inner.read, name, start, end)

    def write(self, name: str, file: Path) -> None:
        self._call(self.inner.write, name, file)


_: type[Transport] = Failing
