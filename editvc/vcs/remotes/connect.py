"""From the address of a remote to the place that it means."""

from __future__ import annotations

from pathlib import Path

from editvc.core.spelling import did_you_mean
from editvc.vcs.files import Fault
from editvc.vcs.remotes.bundle_file import BundleFile
from editvc.vcs.remotes.folder import Folder
from editvc.vcs.remotes.hub_repository import HubRepository
from editvc.vcs.remotes.s3 import Bucket
from editvc.vcs.remotes.sftp import SftpFolder
from editvc.vcs.remotes.transport import DOCUMENT, RemoteError, Transport

SCHEMES = ("file", "hf", "s3", "ssh", "sftp")


def scheme_of(url: str) -> str:
    """``s3`` of ``s3://bucket/path``; ``file`` of a path."""
    head, separator, _ = url.partition("://")
    return head.lower() if separator else "file"


def lasting(url: str) -> str:
    """An address that means the same from every folder: of a path, the absolute one."""
    if scheme_of(url) != "file":
        return url
    return str(Path(url.removeprefix("file://")).expanduser().resolve())


def connect(url: str, fault: Fault | None = None, *, document: str = DOCUMENT) -> Transport:
    """The place at an address: a path, ``file://``, ``s3://``, ``hf://``, ``ssh://``.

    Several documents may lie in one place, each under its own name. Nothing is asked yet. Raises
    :class:`RemoteError` for what is no address.
    """
    scheme = scheme_of(url)
    if scheme == "file":
        path = Path(lasting(url))
        return BundleFile(path) if path.is_file() else Folder(path, fault, document=document)
    if scheme == "s3":
        return Bucket(url, document=document)
    if scheme == "hf":
        return HubRepository(url, document=document)
    if scheme in ("ssh", "sftp"):
        return SftpFolder(url, document=document)
    raise RemoteError(
        url,
        f"no remote can be at {scheme}://",
        hint=did_you_mean(scheme, list(SCHEMES))
        or "A path, s3://BUCKET/PATH, hf://USER/NAME, ssh://HOST/PATH.",
    )
