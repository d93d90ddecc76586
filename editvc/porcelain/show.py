"""``show``: one commit, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.history import Restraint, Tree
from editvc.porcelain.log import log_json
from editvc.session.changes import FactChanges, fact_changes
from editvc.session.session import Session
from editvc.vcs import codec
from editvc.vcs.index_rows import CommitRow


@dataclass(frozen=True, slots=True)
class CommitDetails:
    """A commit, the methods of the edits that it brought, and what it changed.

    ``patches`` counts those that are live and stand for no fact; ``health`` has figures by name.
    """

    row: CommitRow
    methods: tuple[str, ...]
    health: tuple[tuple[str, float], ...]
    restraint: Restraint | None
    patches: int
    changes: FactChanges

    def to_json(self) -> dict[str, Any]:
        """The contract of ``show --json``."""
        about = {"health": dict(self.health), "methods": list(self.methods)}
        return log_json(self.row) | about | self.changes.to_json()


def show(session: Session, revision: str) -> CommitDetails:
    """What a commit says and changes, against its first parent."""
    plumbing = session.repository
    identifier = plumbing.revisions.commit(revision)
    commit = plumbing.read_commit(identifier)
    before = plumbing.tree_of(commit.parents[0] if commit.parents else None)
    tree = plumbing.tree_of(identifier)
    return CommitDetails(
        row=plumbing.graph.row(identifier),
        methods=tuple(methods_of(session, before, tree)),
        health=commit.health,
        restraint=tree.restraint,
        patches=len(tree.patches),
        changes=fact_changes(session, before, tree),
    )


def methods_of(session: Session, before: Tree, after: Tree) -> list[str]:
    """The methods by which the edits that ``after`` has and ``before`` has not were made."""
    plumbing = session.repository
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    come = [*diff.added, *(new for _, new in diff.changed)]
    recipes = {codec.metadata(plumbing.store.get(entry.element))["recipe"] for entry in come}
    return sorted({plumbing.read_recipe(one).method for one in recipes})
