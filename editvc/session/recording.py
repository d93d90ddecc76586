"""The one way in which history grows: a new tree on top of HEAD, with its delta and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editvc.algebra.delta import Delta, delta_to_bytes
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.errors import EditvcError
from editvc.session.changes import fact_changes
from editvc.session.delta_cache import keep_delta_file
from editvc.session.groups import groups_after
from editvc.session.on_branch import Tip
from editvc.session.session import Session
from editvc.session.signing import signed
from editvc.session.user_hooks import POST_COMMIT, PRE_COMMIT, run_hook


class NothingToDo(EditvcError):
    """The command would leave the set of live edits as it is."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A fact that was left out, and why, in words."""

    fact: Fact
    reason: str

    def to_json(self) -> dict[str, Any]:
        """For ``commit --json``."""
        return {"subject": self.fact.subject, "prompt": self.fact.prompt, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a writing command did.

    ``checked`` counts the facts that the new version was asked for, ``failed`` are those of them
    that it does not say. A commit asks for its own wherever the model is loaded: not where all of
    them were made before.
    """

    id: ObjectId
    commit: Commit
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    checked: int = 0
    failed: tuple[Fact, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The contract of ``commit --json``."""
        return {
            "commit": self.id,
            "number": self.commit.number,
            "tree": self.commit.tree,
            "edits": self.commit.edits,
            "live": self.commit.live,
            "skipped": [one.to_json() for one in self.skipped],
            "warnings": list(self.warnings),
            "asked": self.checked,
            "unsaid": [fact.id for fact in self.failed],
        }


def with_changes(session: Session, tree: Tree, changes: Mapping[SlotId, Entry | None]) -> Tree:
    """The tree after setting (or, with ``None``, emptying) slots, its groups made anew."""
    after = replace(tree, edits=session.repository.edits_of(tree).update(changes).root)
    return replace(after, groups=groups_after(session, tree, after, changes))


def build(
    session: Session,
    parent: ObjectId | None,
    tree: Tree,
    *,
    message: str,
    author: str,
    time: int,
    others: Sequence[ObjectId] = (),
) -> tuple[ObjectId, Commit]:
    """Write the objects of a commit of ``tree`` on ``parent``; no ref moves.

    ``others`` are the further parents of a merge. Delta and counts are against the first one.
    """
    plumbing = session.repository
    before = plumbing.tree_of(parent)
    number = 0 if parent is None else plumbing.read_commit(parent).number
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(tree))
    delta = session.materialiser.solutions.change(before, tree)
    unsigned = Commit(
        tree=plumbing.write(tree),
        parents=() if parent is None else (parent, *others),
        author=author,
        time=time,
        message=message,
        number=number + 1,
        edits=len(diff.added) + len(diff.removed) + len(diff.changed),
        live=len(plumbing.edits_of(tree)),
        delta=_write_delta(session, delta),
        health=tuple(sorted(session.materialiser.figures(tree).items())),
    )
    commit = signed(session, unsigned)
    return plumbing.write(commit), commit


def advance(
    session: Session,
    tip: Tip,
    tree: Tree,
    *,
    message: str,
    author: str,
    verb: str,
) -> CommitResult:
    """Commit ``tree`` on top of ``tip`` and move its branch there.

    Raises ``BranchMoved`` where the branch is elsewhere: another process was faster, nothing was
    lost, and :func:`editvc.session.on_branch.on_branch` starts again from its new tip.
    """
    identifier, commit = build(
        session, tip.commit, tree, message=message, author=author, time=session.clock()
    )
    keep_delta_file(session, tree)
    record(session, tip, identifier, commit, verb=verb, message=message)
    return CommitResult(identifier, commit)


def record(
    session: Session,
    tip: Tip,
    identifier: ObjectId,
    commit: Commit,
    *,
    verb: str,
    message: str,
    earlier: Sequence[Commit] = (),
    base: Mapping[str, Any] | None = None,
) -> None:
    """Move a branch to a commit that is built; hooks hear of it before and after.

    ``earlier`` are new commits that it stands on, ``base`` the settings of another base that is in
    force from then on. Raises ``BranchMoved`` and ``HookRefused``: then nothing has moved.
    """

    def about() -> dict[str, Any]:
        plumbing = session.repository
        changes = fact_changes(session, tip.tree, plumbing.read_tree(commit.tree))
        return {
            "verb": verb,
            "branch": tip.ref,
            "parent": tip.commit,
            "commit": identifier,
            "message": commit.message,
            "author": commit.author,
            "live": commit.live,
            "health": dict(commit.health),
        } | changes.to_json()

    run_hook(session, PRE_COMMIT, about)
    session.repository.record(
        commit, expected=tip.commit, ref=tip.ref, message=f"{verb}: {message}", earlier=earlier,
        base=base,
    )  # fmt: skip
    run_hook(session, POST_COMMIT, about)


def _write_delta(session: Session, delta: Delta) -> ObjectId | None:
    if delta.is_empty:
        return None
    return session.repository.store.put(delta_to_bytes(delta, {"kind": "delta"}))
