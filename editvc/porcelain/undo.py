"""``undo`` and ``redo``: refs back to where they were before a command, and forward again.

Either is an operation itself. An undo of an undo goes back one command more: what is undone is
always the command whose state is in force. Objects stay, so a redo needs nothing but refs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.session.session import Session
from editvc.session.unfinished import require_finished
from editvc.vcs.operation import Operation, View
from editvc.vcs.operation_log import differences
from editvc.vcs.refs import HEAD, ReflogEntry


class NothingToUndo(EditvcError):
    """There is no command before this state, or none after it."""


class OperationMoved(EditvcError):
    """Another process changed refs first; nothing was changed."""

    exit_code: ClassVar[int] = 5

    def __init__(self) -> None:
        super().__init__(
            "another process changed branches while this command was at work",
            hint="See `editvc reflog`, then run the command again.",
        )


@dataclass(frozen=True, slots=True)
class RefMove:
    """A ref that goes from one target to another; ``None`` where it is not there."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Undoing:
    """What an undo or a redo does: the command that it is about, and the refs that move.

    ``seen`` is the newest operation at that moment, ``target`` the one whose view comes back.
    """

    verb: str
    seen: ObjectId
    target: ObjectId
    command: Operation
    moves: tuple[RefMove, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``undo --json`` and ``redo --json``."""
        return {
            self.verb: self.command.message,
            "time": self.command.time,
            "author": self.command.author,
            "moves": [{"ref": move.name, "old": move.old, "new": move.new} for move in self.moves],
        }


def preview_undo(session: Session) -> Undoing:
    """The last command that changed refs, and what taking it back changes.

    Raises :class:`NothingToUndo`.
    """
    return _first_change("undo", session, _undone)


def preview_redo(session: Session) -> Undoing:
    """The last command that was undone. Raises :class:`NothingToUndo`."""
    return _first_change("redo", session, _redone)


def undo(session: Session, author: str) -> Undoing:
    """Take the last command that changed refs back.

    Raises what :func:`preview_undo` raises, :class:`OperationMoved`, and ``Unfinished`` where a
    merge waits, which would be void then.
    """
    return _carry_out(session, preview_undo(session), author)


def redo(session: Session, author: str) -> Undoing:
    """Do again what was undone last. As :func:`undo`."""
    return _carry_out(session, preview_redo(session), author)


Step = tuple[ObjectId, ObjectId]
"""A command that is undone or done again, and the operation whose view is in force then."""


def _undone(session: Session, current: ObjectId) -> Iterator[Step]:
    """The commands before the state in force, the last one first."""
    log = session.repository.operations
    command = log.read(current).restores or current
    while (before := _before(session, command)) is not None:
        yield command, before
        command = before


def _redone(session: Session, current: ObjectId) -> Iterator[Step]:
    """The commands that were undone since the last one that was neither undo nor redo."""
    log = session.repository.operations
    in_force = log.read(current).restores or current
    last = next(one for one, operation in log.ancestors(current) if operation.restores is None)
    undone, command = list[ObjectId](), last
    while command != in_force:
        undone.append(command)
        before = _before(session, command)
        if before is None:
            return
        command = before
    yield from ((one, one) for one in reversed(undone))


def _before(session: Session, command: ObjectId) -> ObjectId | None:
    """The command whose state another one began with: undos and redos are passed over."""
    log = session.repository.operations
    parents = log.read(command).parents
    return (log.read(parents[0]).restores or parents[0]) if parents else None


def _first_change(
    verb: str, session: Session, steps: Callable[[Session, ObjectId], Iterator[Step]]
) -> Undoing:
    """The first step that moves a ref: a `switch` to where HEAD is moves none."""
    log = session.repository.operations
    seen, view = log.current(), log.view()
    if seen is not None:
        for command, target in steps(session, seen):
            if moves := _moves(view, log.read(target).view):
                return Undoing(verb, seen, target, log.read(command), moves)
    raise NothingToUndo(f"there is no command to {verb}", hint=_HINTS[verb])


_HINTS = {
    "undo": "`editvc reflog` shows where HEAD has been; commands of an editvc without an operation "
    "log cannot be undone.",
    "redo": "Only what `editvc undo` took back is done again, and only right after it.",
}


def _moves(old: View, new: View) -> tuple[RefMove, ...]:
    was, now = ({HEAD: view.head, **dict(view.refs)} for view in (old, new))
    return tuple(RefMove(one, was.get(one), now.get(one)) for one in differences(old, new))


def _carry_out(session: Session, plan: Undoing, author: str) -> Undoing:
    """Move the refs; HEAD first, so that its reflog has the moves of the branch it goes to."""
    require_finished(session)
    refs, log = session.repository.refs, session.repository.operations
    line = ReflogEntry(
        HEAD, None, None, author, session.clock(), f"{plan.verb}: {plan.command.message}"
    )
    with log.restoring(plan.target):
        if log.current() != plan.seen:
            raise OperationMoved
        for move in plan.moves:
            if move.name == HEAD:
                refs.point_head(str(move.new), line)
            else:
                old, new = (ObjectId(one) if one else None for one in (move.old, move.new))
                refs.move(replace(line, ref=move.name, old=old, new=new))
    return plan
