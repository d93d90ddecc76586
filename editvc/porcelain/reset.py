"""``reset``: the current branch at another commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.porcelain.log import log_json
from editvc.session.on_branch import Tip, move, on_branch, tip_of_head
from editvc.session.session import Session
from editvc.vcs.index_rows import CommitRow


@dataclass(frozen=True, slots=True)
class Reset:
    """Where the branch was and where it is, and the commits that no branch or tag reaches then.

    ``left`` are newest first: the first one's id, a branch or a tag on it brings all back.
    """

    old: ObjectId | None
    new: ObjectId
    left: tuple[CommitRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract of ``reset --json``, of its dry run as well."""
        return {
            "old": self.old,
            "new": self.new,
            "left": [log_json(row) for row in self.left],
        }


def reset(session: Session, revision: str) -> Reset:
    """Move HEAD's branch to ``revision``, with a line in the reflog; no commit is lost by it."""
    goal = session.repository.revisions.commit(revision)

    def attempt(tip: Tip) -> Reset:
        found = _reset(session, tip, goal)
        if tip.commit != goal:
            move(session, tip.ref, tip.commit, goal, f"reset: to {revision}")
        return found

    return on_branch(session, attempt)


def preview_reset(session: Session, revision: str) -> Reset:
    """What ``reset`` would do; nothing is written."""
    return _reset(session, tip_of_head(session), session.repository.revisions.commit(revision))


def _reset(session: Session, tip: Tip, goal: ObjectId) -> Reset:
    plumbing = session.repository
    others = [commit for name, commit in plumbing.refs.all().items() if name != tip.ref]
    old = [tip.commit] if tip.commit is not None else []
    return Reset(tip.commit, goal, tuple(plumbing.graph.log(old, [goal, *others])))
