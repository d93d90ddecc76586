"""Whose repositories are opened without a question: git's rule of safe directories.

What a repository holds decides what commands do. One that another user made, in a folder that many
can write to, would decide it for whoever comes by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from editvc.errors import EditvcError

SAFE = "EDITVC_SAFE_DIRECTORY"
"""The variable of the environment by which a user says what else is safe."""

ROOT = 0


class DubiousOwnership(EditvcError):
    """A repository of another user. ``folder`` is its ``.editvc``, ``owner`` the user's number."""

    def __init__(self, folder: Path, owner: int) -> None:
        super().__init__(
            f"dubious ownership: {folder} belongs to user {owner}, not to you",
            hint=f"If you trust everybody who can write there: {SAFE}={folder.parent}; `*` stands "
            "for every folder.",
        )
        self.folder = folder
        self.owner = owner


@dataclass(frozen=True, slots=True)
class Trust:
    """Users, by number, and folders whose repositories are opened.

    ``folders`` are absolute paths of the folders that hold ``.editvc``; ``/srv/models/*`` is all
    that lies below one, ``*`` is everywhere. ``None`` for ``users`` is whoever runs this process.
    """

    users: frozenset[int] | None = None
    folders: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Trust:
        """What a command line goes by: root behind ``sudo`` is also who called it, as in git."""
        folders = tuple(filter(None, environment.get(SAFE, "").split(os.pathsep)))
        caller = environment.get("SUDO_UID", "")
        if os.geteuid() == ROOT and caller.isascii() and caller.isdecimal():
            return cls(frozenset({ROOT, int(caller)}), folders)
        return cls(folders=folders)

    def require(self, folder: Path) -> None:
        """Raise :class:`DubiousOwnership` for another user's repository; ``folder`` is its own.

        A symbolic link counts as well as what it leads to.
        """
        users = frozenset({os.geteuid()}) if self.users is None else self.users
        strangers = {folder.lstat().st_uid, folder.stat().st_uid} - users
        if strangers and not any(map(_covers(folder.parent.resolve()), self.folders)):
            raise DubiousOwnership(folder, min(strangers))


def _covers(work: Path) -> Callable[[str], bool]:
    """Whether an entry of the list covers the folder ``work``. Relative ones cover nothing."""

    def covers(entry: str) -> bool:
        if entry == "*":
            return True
        above = Path(entry.removesuffix("/*"))
        if not above.is_absolute():
            return False
        here = above.resolve()
        return here in work.parents if entry.endswith("/*") else here == work

    return covers
