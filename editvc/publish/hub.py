"""One export, one commit on the Hub: refused, not mixed, where somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from editvc.core.deadline import within
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.interchange.manifest import SIGNATURE, is_export
from editvc.version import __version__

T = TypeVar("T")

STALE = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.h5", "*.msgpack",
    "adapter_config.json", "editvc.*", SIGNATURE,
)  # fmt: skip
"""Files at the top of a repository that loaders would mix with the new weights, or that would lie
about these: deleted in the same commit, unless the export brings its own."""

NETWORK_ERRORS: tuple[type[Exception], ...] = (
    *(
        base
        for base in HfHubHTTPError.__mro__
        if base.__module__.split(".")[0] not in ("builtins", "huggingface_hub")
    ),
    ConnectionError,
    TimeoutError,
)
"""Failures below HTTP. The client raises those of its HTTP library, and that library differs from
version to version: HfHubHTTPError tells which one it is."""


ANSWER = 60.0
"""Seconds that the Hub may take to answer, and besides them those that an upload takes."""
SLOWEST = 64 << 10
"""Bytes a second of an upload, at least."""

XET_HINT = "Publish again. A server without Xet storage needs HF_HUB_DISABLE_XET=1 set."


class HubError(EditvcError):
    """The Hub refused, was not reached, or does not hold what was sent.

    ``repo_id`` is the repository; ``status`` the HTTP status, ``None`` where there was no answer.
    """

    def __init__(
        self, repo_id: str, problem: str, *, status: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(f"{repo_id}: {problem}", hint=hint)
        self.repo_id = repo_id
        self.status = status


class HubAccessError(HubError):
    """Not logged in, or a token without the right to write (401, 403)."""


class RemoteMovedError(HubError):
    """Somebody pushed to the repository in the meantime (409, 412)."""


@dataclass(frozen=True, slots=True)
class Published:
    """What :func:`publish` did.

    ``url`` shows the new commit, or the pull request; ``commit`` is its full oid and ``parent``
    the one that it was made on. ``files`` are those of the export, ``deleted`` the stale ones that
    the commit removed.
    """

    repo_id: str
    url: str
    commit: str
    parent: str
    files: tuple[str, ...]
    deleted: tuple[str, ...]
    created: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "repo_id": self.repo_id,
            "url": self.url,
            "commit": self.commit,
            "parent": self.parent,
            "files": list(self.files),
            "deleted": list(self.deleted),
            "created": self.created,
        }


def publish(
    folder: Path,
    repo_id: str,
    *,
    message: str,
    private: bool = False,
    create_pr: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
    parent_commit: str | None = None,
    progress: Progress | None = None,
) -> Published:
    """Push an export of editvc to the model repository ``repo_id`` as one commit.

    The repository is made where it does not exist. The commit's parent is the head that was seen
    before the upload, or ``parent_commit``: a push by somebody else in between makes the Hub
    refuse. Weight files of an earlier version that would mix with the new ones are deleted in the
    same commit. Without ``token`` and ``endpoint`` the Hub's client takes its own settings; with
    ``token=False`` it sends none. At the end the files of the new commit are listed and compared
    with the folder. A Hub that does not answer in ``ANSWER`` seconds, or takes a file more slowly
    than ``SLOWEST``, is given up; ``progress`` hears of the waiting.

    Raises :class:`HubAccessError`, :class:`RemoteMovedError` and, for everything else between
    here and the Hub, :class:`HubError`.
    """
    _require(folder, repo_id)
    api = HfApi(endpoint=endpoint, token=token, library_name="editvc", library_version=__version__)
    local = _local_files(folder)

    def ask(call: Callable[[], T], seconds: float = ANSWER) -> T:
        return within(seconds, call, progress, "waiting for the Hub")

    with _told_plainly(repo_id):
        head, created = ask(lambda: _head(api, repo_id, private=private, create_pr=create_pr))
        parent = parent_commit or head
        if parent != head and not create_pr:
            raise _moved(repo_id, f"its head is {head}, not {parent}", None)
        stale = _stale(ask(lambda: api.list_repo_files(repo_id, revision=parent)), local)
        commit = ask(
            lambda: api.create_commit(
                repo_id,
                operations=_operations(local, stale),
                commit_message=message,
                parent_commit=parent,
                create_pr=create_pr,
            ),
            ANSWER + sum(path.stat().st_size for path in local.values()) / SLOWEST,
        )
        ask(lambda: _compare(api, repo_id, commit.oid, local, stale))
    return Published(
        repo_id=repo_id,
        url=str(commit.pr_url or commit.commit_url),
        commit=commit.oid,
        parent=parent,
        files=tuple(local),
        deleted=stale,
        created=created,
    )


def _require(folder: Path, repo_id: str) -> None:
    """Raise for what can be told to be wrong without asking the Hub."""
    if not is_export(folder):
        raise EditvcError(
            f"{folder}: is not an export of editvc", hint="Make one: editvc export --to DIR"
        )
    if "/" not in repo_id:
        raise HubError(
            repo_id, "needs its owner's name", hint=f"Write YOUR-NAME/{repo_id}: hf auth whoami"
        )


def remote_head(
    repo_id: str, *, token: str | bool | None = None, endpoint: str | None = None
) -> str:
    """The commit that a repository's main branch points to, to be given as ``parent_commit``."""
    api = HfApi(endpoint=endpoint, token=token)
    with _told_plainly(repo_id):
        return str(within(ANSWER, lambda: api.model_info(repo_id)).sha)


def _local_files(folder: Path) -> dict[str, Path]:
    """Path in the repository to path on disk, sorted; hidden files stay here."""
    paths = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {
        name: path
        for name, path in paths.items()
        if not any(part.startswith(".") for part in name.split("/"))
    }


def _head(api: HfApi, repo_id: str, *, private: bool, create_pr: bool) -> tuple[str, bool]:
    """Head of the repository, and whether it was made just now."""
    created = False
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError as error:
        # Also what the Hub answers to strangers: then it is the creation that is refused, with 401.
        if create_pr:
            raise HubError(
                repo_id,
                "there is no such repository to open a pull request on, or you may not see it",
                status=error.response.status_code,
                hint="Leave --create-pr out to make it, or log in: hf auth login",
            ) from error
        api.create_repo(repo_id, private=private)
        created = True
        info = api.model_info(repo_id)
    if private and not info.private:
        raise HubError(
            repo_id,
            "the repository exists and is public, but a private one was asked for",
            hint="Make it private in its settings on the Hub, or name another repository.",
        )
    return str(info.sha), created


def _stale(remote: list[str], local: dict[str, Path]) -> tuple[str, ...]:
    return tuple(
        name
        for name in sorted(remote)
        if name not in local
        and "/" not in name
        and any(fnmatch(name, pattern) for pattern in STALE)
    )


def _operations(
    local: dict[str, Path], stale: tuple[str, ...]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    return [
        *(CommitOperationAdd(name, path) for name, path in local.items()),
        *(CommitOperationDelete(name) for name in stale),
    ]


def _compare(
    api: HfApi, repo_id: str, oid: str, local: dict[str, Path], stale: tuple[str, ...]
) -> None:
    """A ``.gitignore`` on the Hub, say, leaves files out of a commit without a word."""
    tree = api.list_repo_tree(repo_id, recursive=True, revision=oid)
    remote = {entry.path: getattr(entry, "size", None) for entry in tree}
    wrong = [name for name, path in local.items() if remote.get(name) != path.stat().st_size]
    wrong += [name for name in stale if name in remote]
    if wrong:
        raise HubError(
            repo_id,
            f"commit {oid} does not hold the export: {', '.join(wrong)}",
            hint="A .gitignore in the repository may exclude these files; remove it and publish "
            "again.",
        )


@contextmanager
def _told_plainly(repo_id: str) -> Iterator[None]:
    """Turn what the client raises into the errors of this module."""
    try:
        yield
    except HFValidationError as error:
        raise HubError(
            repo_id, f"is no name of a repository ({error})", hint="Write it as name/model."
        ) from error
    except HfHubHTTPError as error:
        raise _refused(repo_id, error) from error
    except NETWORK_ERRORS as error:
        raise _unreached(repo_id, error) from error
    except (RuntimeError, ValueError) as error:
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise _refused(repo_id, cause) from error
        if isinstance(cause, NETWORK_ERRORS):
            raise _unreached(repo_id, cause) from error
        raise HubError(repo_id, f"the upload failed ({error})", hint=XET_HINT) from error


def _unreached(repo_id: str, error: BaseException) -> HubError:
    words = str(error) or type(error).__name__
    if "xet" in words:
        return HubError(repo_id, f"the upload failed ({words})", hint=XET_HINT)
    return HubError(
        repo_id,
        f"the Hub was not reached ({words})",
        hint="Check the network and HF_ENDPOINT, then publish again; what is there already is not "
        "sent twice.",
    )


def _refused(repo_id: str, error: HfHubHTTPError) -> HubError:
    """The error for an HTTP status, with the server's own words."""
    status = error.response.status_code
    words = error.server_message or str(error).strip().splitlines()[0]
    if status == 401:
        return HubAccessError(
            repo_id, f"not logged in ({words})", status=status, hint="hf auth login"
        )
    if status == 403:
        return HubAccessError(
            repo_id,
            f"your token may not write here ({words})",
            status=status,
            hint="Use a token with write access (hf auth login), publish under your own name, or "
            "propose the change: --create-pr",
        )
    if status in (409, 412):
        return _moved(repo_id, words, status)
    if status == 404:
        return HubError(
            repo_id,
            f"not found ({words})",
            status=status,
            hint="Check the name; a private repository is only seen when logged in: hf auth login",
        )
    hint = "Try again in a while." if status == 429 or status >= 500 else ""
    return HubError(repo_id, f"the Hub answered {status} ({words})", status=status, hint=hint)


def _moved(repo_id: str, words: str, status: int | None) -> RemoteMovedError:
    return RemoteMovedError(
        repo_id,
        f"the repository has moved on since its head was read ({words})",
        status=status,
        hint="Look at what was pushed, then publish again on top of it; or propose yours beside "
        "it: --create-pr",
    )
