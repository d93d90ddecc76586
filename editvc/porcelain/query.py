"""``query``: SQL over the index, which only reads."""

from __future__ import annotations

from editvc.session.session import Session
from editvc.vcs.read_only import Rows, read


def query(session: Session, sql: str) -> Rows:
    """What one statement gives; the tables are those that the page on file formats names.

    Raises :class:`editvc.vcs.read_only.QueryError`.
    """
    return read(session.repository.index.path, sql)
