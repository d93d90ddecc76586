"""``restore``: one fact as another revision has it."""

from __future__ import annotations

from dataclasses import dataclass

from editvc.core.cut import quoted
from editvc.core.history import Entry
from editvc.core.ids import ObjectId, SlotId, short
from editvc.core.invisible import require_visible
from editvc.errors import EditvcError
from editvc.session.changes import FactChanges, fact_changes_of
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, advance, with_changes
from editvc.session.session import Session
from editvc.vcs.index_rows import FactRow
from editvc.vcs.revisions import BASE, LEAST_DIGITS


class UnknownFact(EditvcError):
    """No fact, or several about different things, go by these digits."""

    def __init__(self, text: str, fitting: list[FactRow]) -> None:
        listed = ", ".join(f"{short(row.id)} ({row.subject})" for row in fitting[:5])
        super().__init__(
            f"{quoted(text)} fits {len(fitting) or 'no'} fact{'' if len(fitting) == 1 else 's'}",
            hint=f"Give more digits. Candidates: {listed}"
            if fitting
            else f"Give {LEAST_DIGITS} digits of its id or more; `editvc grep --all` finds it.",
        )


@dataclass(frozen=True, slots=True)
class _Restored:
    """What a slot holds ``now``, and what it held ``then``, at the revision of that name."""

    slot: SlotId
    now: Entry | None
    then: Entry | None
    name: str


def restore(
    session: Session, fact: str, *, revision: str | None, message: str | None, author: str
) -> CommitResult:
    """Commit HEAD's set with the slot of a fact as ``revision`` has it: set, changed or empty.

    ``fact`` is the beginning of the id of any fact about that thing, live or not. Without a
    revision its last change is undone. Raises :class:`UnknownFact`, and :class:`NothingToDo` where
    the slot would stay as it is.
    """
    require_visible(message=message)
    pinned = None if revision is None else session.repository.revisions.resolve(revision)

    def attempt(tip: Tip) -> CommitResult:
        found = _restored(session, tip, fact, revision, pinned)
        tree = with_changes(session, tip.tree, {found.slot: found.then})
        entry = found.then or found.now
        assert entry is not None, "the two differ, so one holds something"
        question = quoted(session.repository.read_fact(entry.fact).question)
        words = message or f"Restore {question} from {found.name}"
        return advance(session, tip, tree, message=words, author=author, verb="restore")

    return on_branch(session, attempt)


def preview_restore(session: Session, fact: str, *, revision: str | None) -> FactChanges:
    """What ``restore`` would change on HEAD; nothing is written."""
    tip = tip_of_head(session)
    pinned = None if revision is None else session.repository.revisions.resolve(revision)
    found = _restored(session, tip, fact, revision, pinned)
    return fact_changes_of(session, [(found.now, found.then)], (), ())


def _restored(
    session: Session, tip: Tip, fact: str, revision: str | None, pinned: ObjectId | None
) -> _Restored:
    """``pinned`` is the commit of ``revision``, where one is named."""
    plumbing, slot = session.repository, _slot(session, fact)
    if revision is None:
        row = plumbing.graph.changed_by([slot], [tip.commit] if tip.commit else []).get(slot)
        if row is None:
            raise NothingToDo(
                "nothing to restore: no commit of this branch changed that fact",
                hint="Name a revision that has it: --from REV; `editvc log --json` shows them.",
            )
        pinned = row.parents[0] if row.parents else None
    name = revision or (short(pinned) if pinned else BASE)
    now = plumbing.edits_of(tip.tree).get(slot)
    then = plumbing.edits_of(plumbing.tree_of(pinned)).get(slot)
    if now == then:
        raise NothingToDo(
            f"nothing to restore: HEAD has there what {name} has",
            hint="Name another revision with --from; `editvc log` shows them.",
        )
    return _Restored(slot, now, then, name)


def _slot(session: Session, text: str) -> SlotId:
    digits = text.strip().lower()
    known = len(digits) >= LEAST_DIGITS and all(one in "0123456789abcdef" for one in digits)
    fitting = session.repository.index.facts(prefix=digits) if known else []
    if len({row.slot for row in fitting}) != 1:
        raise UnknownFact(text, fitting)
    return SlotId(fitting[0].slot)
