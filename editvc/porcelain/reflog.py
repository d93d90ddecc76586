"""``reflog``: where a branch, or HEAD, has been."""

from __future__ import annotations

from editvc.session.session import Session
from editvc.vcs.refs import BRANCHES, HEAD, BranchUnknown, ReflogEntry


def reflog(session: Session, name: str = HEAD) -> list[ReflogEntry]:
    """The moves of a branch, of HEAD, or of a ref by its full name, newest first.

    Those of a deleted branch are still there. Raises ``BranchUnknown``.
    """
    refs = session.repository.refs
    ref = name if name == HEAD or name.startswith("refs/") else BRANCHES + name
    moves = refs.reflog(ref)
    if not moves and name not in (HEAD, *refs.branches()) and ref != refs.head().ref:
        raise BranchUnknown(name, list(refs.branches()))
    return moves
