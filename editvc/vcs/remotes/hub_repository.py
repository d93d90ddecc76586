"""A remote in a repository of the Hub: the Hub's own commits are the compare-and-swap.

Packs and document go up in one commit of the Hub, on top of the one that was seen; where another
one came first, the Hub refuses it.
"""

# mypy: disable-error-code="attr-defined"
# The client's own helpers are exported without being listed.

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from editvc.vcs.remotes.transport import (
    DOCUMENT,
    FileMissing,
    RemoteError,
    RemoteMoved,
    RemoteUnreached,
    Seen,
)
from editvc.version import __version__

SECONDS = 30
"""That the Hub may be silent for; :class:`editvc.vcs.remotes.connection.Remote` bounds the rest."""
BEHIND_ITS_END = 416
"""The Hub's answer where a file has nothing at the place that is asked for."""


class HubRepository:
    """A model repository of the Hub, made by the first push, and private then."""

    def __init__(self, url: str, *, document: str = DOCUMENT) -> None:
        self.url = url
        self.document_name = document
        self.repo_id = url.removeprefix("hf://").rstrip("/")
        if re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo_id) is None:
            raise RemoteError(url, "is no repository of the Hub", hint="Write hf://USER/NAME.")
        self._waiting: dict[str, Path] = {}

    def document(self) -> Seen:
        """See :meth:`Transport.document`; the version is a commit of the Hub."""
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

        with self._told():
            try:
                head = str(self._api().model_info(self.repo_id, timeout=SECONDS).sha)
            except RepositoryNotFoundError:
                return Seen(None)
            try:
                return Seen(self._get(self.document_name, head), head)
            except EntryNotFoundError:
                return Seen(None, head)

    def swap(self, data: bytes, seen: Seen) -> None:
        """See :meth:`Transport.swap`: one commit, with the packs that were written before."""
        from huggingface_hub import CommitOperationAdd

        waiting, self._waiting = self._waiting, {}
        with self._told():
            api, parent = self._api(), seen.version
            if not parent:
                api.create_repo(self.repo_id, private=True)  # which others may be faster at
                parent = str(api.model_info(self.repo_id, timeout=SECONDS).sha)
            sent = [CommitOperationAdd(name, file) for name, file in waiting.items()]
            api.create_commit(
                self.repo_id,
                operations=[*sent, CommitOperationAdd(self.document_name, data)],
                commit_message="editvc push",
                parent_commit=parent,
            )

    def size(self, name: str) -> int | None:
        """Not known before a commit: what the Hub has of a file, it does not take again."""
        return None

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :meth:`Transport.read`."""
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

        with self._told():
            try:
                return self._get(name, "main", f"bytes={start}-{end - 1}")
            except EntryNotFoundError as cause:
                raise FileMissing(self.url, name) from cause
            except HfHubHTTPError as cause:
                if cause.response.status_code == BEHIND_ITS_END:
                    return b""
                raise

    def write(self, name: str, file: Path) -> None:
        """See :meth:`Transport.write`: it goes up with the document."""
        self._waiting[name] = file

    def _api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(library_name="editvc", library_version=__version__)

    def _get(self, name: str, revision: str, span: str | None = None) -> bytes:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        headers = build_hf_headers(library_name="editvc", library_version=__version__)
        if span is not None:
            headers["Range"] = span
        url = hf_hub_url(self.repo_id, name, revision=revision, endpoint=self._api().endpoint)
        answer = get_session().get(url, headers=headers, timeout=SECONDS, follow_redirects=True)
        hf_raise_for_status(answer)
        return bytes(answer.content)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the Hub's client raises, in our words."""
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            yield
        except HFValidationError as cause:
            raise RemoteError(self.url, f"is no repository of the Hub: {cause}") from cause
        except HfHubHTTPError as cause:
            status = cause.response.status_code
            if status in (409, 412):
                raise RemoteMoved(self.url) from cause
            words = cause.server_message or str(cause).strip().splitlines()[0]
            hint = "Log in with a token that may write: hf auth login" * (status in (401, 403))
            raise RemoteUnreached(self.url, f"the Hub says {status}: {words}", hint=hint) from cause
        except _below_http() as cause:
            words = str(cause) or type(cause).__name__
            raise RemoteUnreached(self.url, f"the Hub was not reached: {words}") from cause


def _below_http() -> tuple[type[Exception], ...]:
    """What the client's HTTP library raises, which differs from version to version."""
    from huggingface_hub.errors import HfHubHTTPError

    below = (
        base
        for base in HfHubHTTPError.__mro__
        if base.__module__.split(".")[0] not in ("builtins", "huggingface_hub")
    )
    return (OSError, *below)
