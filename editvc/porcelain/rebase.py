"""``rebase``: this branch's own commits, one by one, on top of another branch."""

from __future__ import annotations

from editvc.core.ids import ObjectId
from editvc.porcelain.combine import CombinePreview
from editvc.porcelain.sequencer import Combination, carry_on, preview_replay
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.session import Session
from editvc.vcs.pending import Pending
from editvc.vcs.refs import HEAD


def rebase(session: Session, upstream: str) -> Combination:
    """Replay what HEAD's branch has and ``upstream`` has not on top of ``upstream``.

    Authors, messages and times stay. Of a merge, what it changed against its first parent is
    replayed. What ``upstream`` holds already is left out. The branch moves once, at the end; stops
    at conflicts.
    """
    onto = session.repository.revisions.commit(upstream)

    def attempt(tip: Tip) -> Combination:
        pending = _pending(session, tip, onto, upstream)
        if pending is None:
            return Combination(tip.commit, moved=False, verb="rebase")
        return carry_on(session, pending)

    return on_branch(session, attempt)


def preview_rebase(session: Session, upstream: str) -> CombinePreview:
    """What ``rebase`` would do to HEAD's branch; nothing is written."""
    onto, tip = session.repository.revisions.commit(upstream), tip_of_head(session)
    pending = _pending(session, tip, onto, upstream)
    if pending is None:
        return preview_replay(session, _waiting(session, tip, tip.commit or onto, upstream, []))
    return preview_replay(session, pending)


def _pending(session: Session, tip: Tip, onto: ObjectId, upstream: str) -> Pending | None:
    """All of it still to do; ``None`` where the branch stands on ``onto`` already."""
    graph = session.repository.graph
    began = tip.commit or session.repository.revisions.commit(HEAD)  # which says: no commit yet
    if graph.is_ancestor(onto, began):
        return None
    hidden = graph.reachable([onto])
    own: list[ObjectId] = []
    for row in graph.first_parents(began):
        if row.id in hidden:
            break
        own.append(row.id)
    return _waiting(session, tip, onto, upstream, own[::-1])


def _waiting(
    session: Session, tip: Tip, onto: ObjectId, upstream: str, own: list[ObjectId]
) -> Pending:
    return Pending(
        verb="rebase",
        ref=tip.ref,
        began=tip.commit or onto,
        parent=onto,
        tree=session.repository.read_commit(onto).tree,
        message="",
        author="",
        time=None,
        about=upstream,
        todo=tuple(own),
    )
