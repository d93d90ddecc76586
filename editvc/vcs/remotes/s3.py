"""A remote in a bucket: packs and document are objects, and writes are conditional.

A document is put with ``If-None-Match: *`` where there was none, else with ``If-Match`` and the
tag of the one that was seen: the store refuses one of two that come at once. Account, region and
address are those of the AWS settings of whoever runs this (``AWS_ENDPOINT_URL`` for other stores).
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# The packages have no types, and may be absent.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from editvc.vcs.remotes.transport import (
    DOCUMENT,
    RemoteError,
    RemoteMoved,
    RemoteUnreached,
    Seen,
    require_package,
)

SECONDS = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}
"""How long a store may be silent."""

ABSENT = ("404", "NoSuchKey", "NotFound")
LOST = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
"""Codes of S3's errors."""


class Bucket:
    """A remote at ``s3://BUCKET/PATH``."""

    def __init__(self, url: str, *, document: str = DOCUMENT) -> None:
        self.url = url
        self.document_name = document
        self.bucket, _, self.prefix = url.removeprefix("s3://").rstrip("/").partition("/")
        if not self.bucket:
            raise RemoteError(url, "names no bucket", hint="Write s3://BUCKET/PATH.")
        require_package(url, "s3fs", "s3")

    @cached_property
    def _files(self) -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(
            config_kwargs=SECONDS, use_listings_cache=False, skip_instance_cache=True
        )

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _ask(self, method: str, name: str, **more: Any) -> Any:
        return self._files.call_s3(method, Bucket=self.bucket, Key=self._key(name), **more)

    def document(self) -> Seen:
        """See :meth:`Transport.document`; the version is the object's tag."""
        while True:
            tag = self._tag()
            if tag is None:
                return Seen(None)
            data = self.read(self.document_name, 0, 1 << 62)
            if self._tag() == tag:  # else it was swapped in between
                return Seen(data, tag)

    def _tag(self) -> str | None:
        with self._told():
            answer = self._where_there(lambda: self._ask("head_object", self.document_name))
            return None if answer is None else str(answer["ETag"])

    def swap(self, data: bytes, seen: Seen) -> None:
        """See :meth:`Transport.swap`."""
        condition = {"IfMatch": seen.version} if seen.version else {"IfNoneMatch": "*"}
        with self._told():
            self._ask("put_object", self.document_name, Body=data, **condition)

    def size(self, name: str) -> int | None:
        """See :meth:`Transport.size`."""
        with self._told():
            answer = self._where_there(lambda: self._ask("head_object", name))
            return None if answer is None else int(answer["ContentLength"])

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :meth:`Transport.read`."""
        with self._told():
            return bytes(self._files.cat_file(self._path(name), start=start, end=end))

    def write(self, name: str, file: Path) -> None:
        """See :meth:`Transport.write`. An object is there whole, or not at all."""
        with self._told():
            self._files.put_file(str(file), self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.bucket}/{self._key(name)}"

    @staticmethod
    def _where_there(ask: Any) -> Any:
        try:
            return ask()
        except FileNotFoundError:
            return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What s3fs and botocore raise, in our words."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as cause:
            raise self._meaning(cause) from cause
        except (BotoCoreError, OSError) as cause:
            inner = cause.__cause__
            if isinstance(inner, ClientError):
                raise self._meaning(inner) from cause
            raise RemoteUnreached(self.url, f"the store was not reached: {cause}") from cause

    def _meaning(self, error: Any) -> RemoteError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in LOST:
            return RemoteMoved(self.url)
        return RemoteUnreached(self.url, f"the store says {code}: {error}")
