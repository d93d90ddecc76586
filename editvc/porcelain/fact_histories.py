"""Every fact that a line of history has held: which commit brought it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from editvc.core.history import Entry
from editvc.core.ids import ObjectId
from editvc.session.expiry import today_of
from editvc.session.session import Session

State = Literal["live", "expired", "superseded", "reverted"]


@dataclass(frozen=True, slots=True)
class FactHistory:
    """A fact, by its id; ``brought`` and ``left`` are numbers of commits, the last ones.

    ``left`` is None while it is live. A live fact is ``expired`` where its ``valid_until`` is over.
    """

    fact: ObjectId
    brought: int
    left: int | None = None
    state: State = "live"


def fact_histories(session: Session, commit: ObjectId) -> list[FactHistory]:
    """All facts along the first parents of a commit, in the order in which they came last.

    A fact that is located again (a squash, another recipe) has neither come nor gone.
    """
    plumbing = session.repository
    found: dict[ObjectId, FactHistory] = {}
    before = plumbing.edits_of(plumbing.tree_of(None))

    def leave(entry: Entry, number: int, state: State) -> None:
        found[entry.fact] = replace(found[entry.fact], left=number, state=state)

    def come(entry: Entry, number: int) -> None:
        found.pop(entry.fact, None)  # one that comes again is the newest
        found[entry.fact] = FactHistory(entry.fact, number)

    for row in reversed([*plumbing.graph.first_parents(commit)]):
        after = plumbing.edits_of(plumbing.read_tree(row.tree))
        diff = before.diff(after)
        for entry in diff.removed:
            leave(entry, row.number, "reverted")
        for old, new in diff.changed:
            if old.fact != new.fact:
                leave(old, row.number, "superseded")
                come(new, row.number)
        for entry in diff.added:
            come(entry, row.number)
        before = after
    today = today_of(session).isoformat()
    over = {
        row[0]
        for row in plumbing.index.rows("SELECT id FROM facts WHERE valid_until < ?", (today,))
    }
    return [
        replace(one, state="expired") if one.state == "live" and one.fact in over else one
        for one in found.values()
    ]
