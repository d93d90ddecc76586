"""What waits for a decision: a merge, or a replay of commits, that met a conflict."""

from __future__ import annotations

from editvc.core.ids import short
from editvc.errors import EditvcError
from editvc.session.session import Session
from editvc.vcs.pending import Pending
from editvc.vcs.refs import readable


class Unfinished(EditvcError):
    """A command that would move the branch, while a merge of it waits."""

    def __init__(self, pending: Pending) -> None:
        verb, left = pending.verb, len(pending.open)
        places = f"{left} conflict{'' if left == 1 else 's'}" if left else "every conflict decided"
        if pending.base:
            places = "facts no longer take"
        super().__init__(
            f"a {verb} of {pending.about} is not finished: {places}",
            hint=f"`editvc status` shows it; then `editvc {verb} --continue`, or `editvc {verb} "
            "--abort`.",
        )
        self.verb = verb


class NothingWaits(EditvcError):
    """``--continue``, ``--abort`` or ``resolve`` where nothing waits for it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint=hint or "`editvc status` shows what waits.")


class Overtaken(EditvcError):
    """The branch has moved since the merge began, so its result would undo that."""

    def __init__(self, pending: Pending) -> None:
        began = short(pending.began) if pending.began else "no commit"
        super().__init__(
            f"{readable(pending.ref)} is no longer at {began}, where the {pending.verb} of "
            f"{pending.about} began",
            hint=f"`editvc {pending.verb} --abort` forgets it; then begin it again.",
        )


def waiting(session: Session) -> Pending | None:
    """What waits on the branch that HEAD is on; one that was overtaken is void."""
    pending = session.repository.pending.load()
    return pending if pending is not None and not overtaken(session, pending) else None


def overtaken(session: Session, pending: Pending) -> bool:
    """Whether the branch has moved since, or HEAD is on another one."""
    head = session.repository.refs.head()
    return (head.ref, head.commit) != (pending.ref, pending.began)


def require_finished(session: Session) -> None:
    """Raise :class:`Unfinished` where something waits."""
    if (pending := waiting(session)) is not None:
        raise Unfinished(pending)


def required(session: Session, verb: str | None = None) -> Pending:
    """What waits, of ``verb`` where one is named. Raises what is above."""
    pending = session.repository.pending.load()
    if pending is None:
        raise NothingWaits(f"no {verb or 'merge'} waits for anything")
    if verb not in (None, pending.verb):
        raise NothingWaits(
            f"it is a {pending.verb} that waits, not a {verb}",
            hint=f"`editvc {pending.verb} --continue`, or `editvc {pending.verb} --abort`.",
        )
    if overtaken(session, pending):
        raise Overtaken(pending)
    return pending
