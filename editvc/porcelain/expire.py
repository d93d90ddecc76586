"""``expire``: take facts out of the set whose last day is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.invisible import require_visible
from editvc.session.changes import fact_json
from editvc.session.expiry import today_of
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, advance, with_changes
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class ExpirePreview:
    """The facts that :func:`expire` would take out, in slot order, and the day it is for."""

    day: date
    facts: tuple[Fact, ...]

    def summary(self) -> str:
        """In words."""
        lines = [f"- {fact.line} (valid until {fact.valid_until})" for fact in self.facts]
        count = len(self.facts)
        lines.append(f"{count} fact{'' if count == 1 else 's'} expired; nothing was written")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For ``expire --dry-run --json``."""
        return {
            "at": self.day.isoformat(),
            "expired": [fact_json(fact) for fact in self.facts],
        }


def expire(session: Session, at: date | None, *, message: str | None, author: str) -> CommitResult:
    """Commit HEAD's set without the facts that have expired on a day: today in UTC, if not said.

    Raises :class:`NothingToDo` where none has.
    """
    require_visible(message=message)
    today = at or today_of(session)

    def attempt(tip: Tip) -> CommitResult:
        gone = _required(session, tip.tree, today)
        counted = f"{len(gone)} fact{'' if len(gone) == 1 else 's'}"
        return advance(
            session,
            tip,
            with_changes(session, tip.tree, {entry.slot: None for entry, _ in gone}),
            message=message or f"Expire {counted} on {today.isoformat()}",
            author=author,
            verb="expire",
        )

    return on_branch(session, attempt)


def preview_expire(session: Session, at: date | None) -> ExpirePreview:
    """What :func:`expire` would do on HEAD, or why not."""
    today = at or today_of(session)
    gone = _required(session, tip_of_head(session).tree, today)
    return ExpirePreview(today, tuple(fact for _, fact in gone))


def _required(session: Session, tree: Tree, today: date) -> list[tuple[Entry, Fact]]:
    """The live facts that have expired, at least one. Raises :class:`NothingToDo`."""
    plumbing = session.repository
    facts = ((one, plumbing.read_fact(one.fact)) for one in plumbing.edits_of(tree).entries())
    gone = [(entry, fact) for entry, fact in facts if fact.expired(today)]
    if not gone:
        raise NothingToDo(
            f"nothing to expire: no live fact ends before {today.isoformat()}",
            hint="`valid_until` of a fact is its last day; --at DAY looks at another day.",
        )
    return gone
