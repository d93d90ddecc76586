"""``log``: the commits that a revision reaches, from the index alone."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from editvc.session.session import Session
from editvc.session.trees import commit_at
from editvc.vcs.index_rows import CommitRow


def iso_time(seconds: int) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def log_json(row: CommitRow) -> dict[str, Any]:
    """The contract of ``log --json``, for one commit."""
    return {
        "commit": row.id,
        "number": row.number,
        "tree": row.tree,
        "parents": list(row.parents),
        "message": row.message,
        "author": row.author,
        "time": iso_time(row.time),
        "edits": row.edits,
        "live": row.live,
    }


def log(session: Session, revision: str = "HEAD", limit: int | None = None) -> list[CommitRow]:
    """The commits that a revision (or the range ``A..B``) reaches, newest first."""
    plumbing = session.repository
    if ".." in revision:
        rows = [plumbing.graph.row(one) for one in plumbing.revisions.resolve_range(revision)]
        return rows[::-1][:limit]
    start = commit_at(session, revision)
    return [] if start is None else list(islice(plumbing.graph.newest([start]), limit))


def imported_patches(session: Session, row: CommitRow) -> int:
    """How many patches that stand for no fact the tree of a commit holds."""
    return len(session.repository.read_tree(row.tree).patches)
