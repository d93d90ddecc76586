"""``reindex`` and ``fsck --repair``: the index anew, from the objects and the operation log.

They work on a folder: a session could not be opened where the index is damaged.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from editvc.core.trust import Trust
from editvc.errors import DamageError
from editvc.vcs import recovery
from editvc.vcs.fsck import fsck
from editvc.vcs.repository import Repository, folder_at


def reindex(start: Path, trust: Trust | None = None) -> list[str]:
    """Build the index of the repository at or above ``start``; returns what was done, in words.

    Raises :class:`editvc.vcs.index_rebuild.NoOperations`, and what
    :func:`~editvc.vcs.repository.folder_at` raises.
    """
    return recovery.reindex(folder_at(start, trust))


def repair(start: Path, trust: Trust | None = None) -> list[str]:
    """:func:`reindex` where the index is missing, damaged, or disagrees with objects and log.

    Nothing else is touched: damaged objects stay as they are, for a copy to heal them.
    """
    folder, done = folder_at(start, trust), list[str]()
    try:
        with closing(Repository(folder, remark=done.append)) as repository:
            if not any(problem.in_index for problem in fsck(repository).errors):
                return done
    except DamageError:
        pass  # so damaged that it cannot even be looked at
    return done + recovery.reindex(folder)
