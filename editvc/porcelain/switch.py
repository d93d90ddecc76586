"""``switch``: where HEAD is, as in git."""

from __future__ import annotations

from editvc.core.ids import ObjectId
from editvc.session.session import Session
from editvc.session.unfinished import require_finished


def switch(session: Session, name: str) -> None:
    """Put HEAD on a branch. Raises ``Unfinished`` where a merge waits."""
    require_finished(session)
    session.repository.refs.switch(name, author=session.author(), time=session.clock())


def detach(session: Session, revision: str) -> ObjectId:
    """Put HEAD on a commit itself, on no branch. Raises ``Unfinished`` where a merge waits."""
    require_finished(session)
    commit = session.repository.revisions.commit(revision)
    session.repository.refs.detach(commit, author=session.author(), time=session.clock())
    return commit
