"""``shortlog``: commits by who made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.porcelain.log import log, log_json
from editvc.session.session import Session
from editvc.vcs.index_rows import CommitRow


@dataclass(frozen=True, slots=True)
class AuthorCommits:
    """The commits of one author, oldest first; ``edits`` is how many slots they changed."""

    author: str
    commits: tuple[CommitRow, ...]

    @property
    def edits(self) -> int:
        """Over all of them."""
        return sum(row.edits for row in self.commits)

    def to_json(self) -> dict[str, Any]:
        """For ``shortlog --json``."""
        return {
            "author": self.author,
            "edits": self.edits,
            "commits": [log_json(row) for row in self.commits],
        }


def shortlog(session: Session, revision: str) -> list[AuthorCommits]:
    """The commits that a revision or a range reaches, by author in the order of their names."""
    by_author: dict[str, list[CommitRow]] = {}
    for row in reversed(log(session, revision)):
        by_author.setdefault(row.author, []).append(row)
    return [AuthorCommits(author, tuple(rows)) for author, rows in sorted(by_author.items())]
