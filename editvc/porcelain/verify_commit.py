"""``verify-commit``: whose signatures commits have."""

from __future__ import annotations

from collections.abc import Sequence

from editvc.session.session import Session
from editvc.session.signing import Signature, signature_of


def verify_commit(session: Session, revisions: Sequence[str]) -> tuple[Signature, ...]:
    """What is to be said of the signature of each commit, in the order given."""
    resolve = session.repository.revisions.commit
    return tuple(signature_of(session, resolve(one)) for one in revisions)
