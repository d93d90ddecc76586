"""The commit and the tree that a revision names, and the facts that are live there."""

from __future__ import annotations

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.session.session import Session


def commit_at(session: Session, revision: str) -> ObjectId | None:
    """The commit of a revision: none for ``base``, and for HEAD before the first commit."""
    plumbing = session.repository
    if revision == "HEAD" and plumbing.refs.found_head().commit is None:
        return None
    return plumbing.revisions.resolve(revision)


def tree_at(session: Session, revision: str) -> Tree:
    """The tree of a revision; ``base`` is the unedited model, as HEAD is before any commit."""
    return session.repository.tree_of(commit_at(session, revision))


def live_facts(session: Session, revision: str = "HEAD") -> dict[SlotId, Fact]:
    """Every live fact of a revision by its slot."""
    plumbing = session.repository
    edits = plumbing.edits_of(tree_at(session, revision))
    return {entry.slot: plumbing.read_fact(entry.fact) for entry in edits.entries()}


PROMPTS = 3
"""How many live facts an export is asked about after it was loaded again."""


def checked_facts(session: Session, revision: str) -> list[Fact]:
    """The live facts that an export of a revision is checked by."""
    return list(live_facts(session, revision).values())[:PROMPTS]
