"""Sections ``[remote.NAME]`` of ``config.toml``: where other repositories are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from editvc.core.cut import quoted
from editvc.core.invisible import unseen
from editvc.core.settings import is_number
from editvc.errors import EditvcError
from editvc.vcs.refs import BranchNameError, check_branch_name

TIMEOUT = 60.0
"""Seconds that a request to a remote may take, and besides them those that its bytes take."""


class RemoteSectionError(EditvcError):
    """A section of a remote that says nothing usable, or a name that no remote can have."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"config remote.{quoted(name)}: {problem}",
            hint="`editvc remote add NAME URL` writes such sections, `editvc remote remove NAME` "
            "takes them out.",
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class RemoteSection:
    """Where a remote is, and how many seconds a request may take."""

    url: str
    timeout: float = TIMEOUT


def check_remote_name(name: str) -> None:
    """Raise :class:`RemoteSectionError` unless ``name`` may be a remote's: as a branch's, without
    slashes.
    """
    try:
        check_branch_name(name, "remote")
    except BranchNameError as error:
        raise RemoteSectionError(name, str(error)) from error
    if "/" in name:
        raise RemoteSectionError(name, "a slash stands between a remote and its branch")


def remotes_in(tables: Any) -> Mapping[str, RemoteSection]:
    """The remotes of a configuration. Raises :class:`RemoteSectionError`."""
    if not isinstance(tables, dict):
        raise RemoteSectionError("", "must be a section, written [remote.NAME]")
    return {name: _section(name, table) for name, table in tables.items()}


def _section(name: str, table: Any) -> RemoteSection:
    check_remote_name(name)
    if not isinstance(table, dict) or not {*table} <= {"url", "timeout"}:
        raise RemoteSectionError(name, "must be a section with url, and perhaps timeout")
    url, timeout = table.get("url"), table.get("timeout", TIMEOUT)
    if not isinstance(url, str) or not url or unseen(url) or len(url.splitlines()) != 1:
        raise RemoteSectionError(name, "needs a url, which is one line of text")
    if not is_number(timeout) or not isfinite(timeout) or timeout <= 0:
        raise RemoteSectionError(name, "has a timeout that is no positive number of seconds")
    return RemoteSection(url, float(timeout))


def with_remotes(text: str, sections: Mapping[str, RemoteSection | None]) -> str:
    """A configuration with sections of remotes, and without those that are ``None``."""
    import tomlkit  # needed for writing only, and dear enough to keep out of `log`

    document = tomlkit.parse(text)
    if "remote" not in document:
        document["remote"] = tomlkit.table(is_super_table=True)
    remotes: Any = document["remote"]
    for name, section in sections.items():
        remotes.pop(name, None)
        if section is not None:
            table = tomlkit.table()
            table["url"] = section.url
            if section.timeout != TIMEOUT:
                table["timeout"] = section.timeout
            remotes[name] = table
    if not remotes:
        document.pop("remote")
    return tomlkit.dumps(document)
