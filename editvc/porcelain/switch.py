"""``switch``: where HEAD is, as in git."""

from __future__ import annotations

from editvc.core.ids import ObjectId
from editvc.session.session import Session
from editvc.session.unfinished import require_finished
from editvc.vcs.refs import HEAD


def switch(session: Session, name: str) -> None:
    """Put HEAD on a branch. Raises ``Unfinished`` where a merge waits."""
    require_finished(session)
    session.repository.refs.switch(name, author=session.author(), time=session.clock())


def start_branch(session: Session, name: str) -> None:
    """Make a branch at HEAD and put HEAD on it, both or neither. Raises as :func:`switch`."""
    require_finished(session)
    commit = session.repository.revisions.commit(HEAD)
    session.repository.refs.start_branch(
        name, commit, author=session.author(), time=session.clock()
    )


def detach(session: Session, revision: str) -> ObjectId:
    """Put HEAD on a commit itself, on no branch. Raises ``Unfinished`` where a merge waits."""
    require_finished(session)
    commit = session.repository.revisions.commit(revision)
    session.repository.refs.detach(commit, author=session.author(), time=session.clock())
    return commit
