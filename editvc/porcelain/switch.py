"""``switch``: where HEAD is, as in git."""

from __future__ import annotations

from editvc.core.ids import ObjectId
from editvc.porcelain.session import Session


def switch(session: Session, name: str) -> None:
    """Put HEAD on a branch."""
    session.repository.refs.switch(name, author=session.author(), time=session.clock())


def detach(session: Session, revision: str) -> ObjectId:
    """Put HEAD on a commit itself, on no branch."""
    commit = session.repository.revisions.commit(revision)
    session.repository.refs.detach(commit, author=session.author(), time=session.clock())
    return commit
