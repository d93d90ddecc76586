"""``query``: SQL over the index, which only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvc.vcs.read_only import Rows, read

if TYPE_CHECKING:
    from editvc.porcelain.repo import Repo


def query(repo: Repo, sql: str) -> Rows:
    """What one statement gives; the tables are those that the page on file formats names.

    Raises :class:`editvc.vcs.read_only.QueryError`.
    """
    return read(repo.repository.index.path, sql)
