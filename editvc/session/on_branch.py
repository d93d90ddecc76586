"""Work on the branch that a command began on, and again where another process was faster."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from editvc.core.history import Tree
from editvc.core.ids import ObjectId
from editvc.session.session import Session
from editvc.session.unfinished import require_finished
from editvc.vcs.refs import HEAD, BranchMoved, ReflogEntry
from editvc.vcs.turn import let_pass, turn

Done = TypeVar("Done")

ATTEMPTS = 16
"""How often a command starts again."""

PATIENCE = 2.0
"""Seconds that a command which begins lets one go first that was overtaken."""

LONGEST_TURN = 60.0
"""Seconds that a command which was overtaken waits for its turn; then it goes on without it."""

FIRST_WAIT, LONGEST_WAIT = 0.02, 2.0
"""Seconds between attempts: twice as long each time, and by chance up to half as long again, so
that processes that met once do not meet again."""


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a command began: a ``ref`` by its full name, its commit (none yet), and the tree."""

    ref: str
    commit: ObjectId | None
    tree: Tree


def tip_of_head(session: Session) -> Tip:
    """The branch that HEAD is on, or HEAD itself where it is on none.

    Raises ``BranchLost`` where that branch is gone, rather than begin a second history, and
    ``Unfinished`` where a merge of it waits.
    """
    require_finished(session)
    head = session.repository.refs.found_head()
    return Tip(head.ref, head.commit, session.repository.tree_of(head.commit))


def on_branch(session: Session, work: Callable[[Tip], Done]) -> Done:
    """Do ``work`` on HEAD's branch, from its new tip on where another process has moved it.

    It is the branch of the beginning throughout, wherever HEAD is switched to meanwhile. A command
    that was overtaken has its turn before those that begin. Raises ``BranchMoved`` where the branch
    is gone, and where others are faster time and again.
    """
    place = session.repository.cache.folder  # it may be gone: then nobody waits
    let_pass(place, PATIENCE)
    tip = tip_of_head(session)
    try:
        return work(tip)
    except BranchMoved as moved:
        last = moved
    with turn(place, LONGEST_TURN):
        for wait in waits():
            time.sleep(wait)
            tip = _again(session, tip, last)
            try:
                return work(tip)
            except BranchMoved as moved:
                last = moved
    raise last


def move(
    session: Session, ref: str, old: ObjectId | None, new: ObjectId | None, message: str
) -> None:
    """Move a branch to a commit that is there. Raises ``BranchMoved``."""
    plumbing = session.repository
    with plumbing.index.transaction():
        plumbing.refs.move(ReflogEntry(ref, old, new, session.author(), session.clock(), message))


def _again(session: Session, tip: Tip, moved: BranchMoved) -> Tip:
    """The tip of the same ref now. Raises ``moved`` where there is none any more."""
    refs = session.repository.refs
    head = refs.head()
    commit = refs.get(tip.ref) if tip.ref != head.ref else head.commit
    if commit is None or (tip.ref != head.ref and tip.ref == HEAD):
        raise moved
    return Tip(tip.ref, commit, session.repository.tree_of(commit))


def waits() -> Iterator[float]:
    """How long to wait after each attempt, in seconds."""
    for attempt in range(ATTEMPTS):
        yield min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * (1 + random.random() / 2)
