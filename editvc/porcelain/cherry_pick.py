"""``cherry-pick``: what single commits changed, once more on this branch."""

from __future__ import annotations

from collections.abc import Sequence

from editvc.core.ids import ObjectId
from editvc.porcelain.combine import CombinePreview
from editvc.porcelain.sequencer import Combination, carry_on, preview_replay
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import NothingToDo
from editvc.session.session import Session
from editvc.vcs.pending import Pending
from editvc.vcs.refs import HEAD


def cherry_pick(session: Session, revisions: Sequence[str]) -> Combination:
    """Commit what each of the revisions, or of ranges A..B, changed against its first parent.

    Authors and messages stay theirs. All are committed or none; stops at conflicts. Raises
    :class:`NothingToDo` where all of it is here already.
    """
    commits = _commits(session, revisions)

    def attempt(tip: Tip) -> Combination:
        done = carry_on(session, _pending(session, tip, commits, revisions))
        if not done.made and not done.conflicts:
            raise _nothing(revisions)
        return done

    return on_branch(session, attempt)


def preview_cherry_pick(session: Session, revisions: Sequence[str]) -> CombinePreview:
    """What ``cherry-pick`` would do on HEAD; nothing is written."""
    tip, commits = tip_of_head(session), _commits(session, revisions)
    preview = preview_replay(session, _pending(session, tip, commits, revisions))
    if not preview.commits and not preview.conflicts:
        raise _nothing(revisions)
    return preview


def _nothing(revisions: Sequence[str]) -> NothingToDo:
    return NothingToDo(
        f"nothing to pick: what {', '.join(revisions)} changed is here already",
        hint="`editvc diff REV HEAD` shows what is not.",
    )


def _commits(session: Session, revisions: Sequence[str]) -> list[ObjectId]:
    """The commits in the order given, those of a range oldest first."""
    names = session.repository.revisions
    return [
        commit
        for one in revisions
        for commit in (names.resolve_range(one) if ".." in one else [names.commit(one)])
    ]


def _pending(
    session: Session, tip: Tip, commits: Sequence[ObjectId], revisions: Sequence[str]
) -> Pending:
    """All of it still to do, on HEAD, which must have a commit."""
    plumbing = session.repository
    began = tip.commit or plumbing.revisions.commit(HEAD)  # which says that there is none yet
    return Pending(
        verb="cherry-pick",
        ref=tip.ref,
        began=began,
        parent=began,
        tree=plumbing.read_commit(began).tree,
        message="",
        author="",
        time=None,
        about=", ".join(revisions),
        todo=tuple(commits),
    )
