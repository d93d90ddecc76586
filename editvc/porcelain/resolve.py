"""``resolve``: whose version a place in conflict gets."""

from __future__ import annotations

from editvc.core.cut import quoted
from editvc.errors import EditvcError
from editvc.porcelain.conflicts import Conflict, conflicts_of
from editvc.session.session import Session
from editvc.session.unfinished import required
from editvc.vcs.pending import RESTRAINT, Pending, Side


class NoSuchConflict(EditvcError):
    """Nothing in conflict, or more than one place, goes by that id."""

    def __init__(self, text: str, fitting: int) -> None:
        super().__init__(
            f"{quoted(text)} fits {fitting or 'no'} place{'' if fitting == 1 else 's'} in conflict",
            hint="`editvc status` lists them: give digits of a slot or of one of its facts, or "
            f"'{RESTRAINT}'.",
        )


def resolve(session: Session, place: str, side: Side) -> Conflict:
    """Decide one place of what waits; it may be decided again until ``--continue``.

    ``place`` is the beginning of a slot's id, or of one of the facts that the sides have there.
    """
    pending = required(session)
    found = _place(pending, place)
    decided = pending.choosing(found, side)
    conflict = next(one for one in conflicts_of(session, decided) if one.place == found)
    session.repository.pending.save(decided)  # last: what is told can be told
    return conflict


def _place(pending: Pending, text: str) -> str:
    digits = text.strip().lower()
    fitting = [
        slot
        for slot, sides in pending.conflicts.items()
        if digits
        and any(
            one.startswith(digits)
            for one in (slot, *(e.fact for e in (sides.base, sides.ours, sides.theirs) if e))
        )
    ]
    if digits == RESTRAINT and pending.restraints is not None:
        return RESTRAINT
    if len(fitting) != 1:
        raise NoSuchConflict(text, len(fitting))
    return fitting[0]
