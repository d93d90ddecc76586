"""``merge``: what other branches made of the common past, together with what this one made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from editvc.core.history import Tree
from editvc.core.ids import ObjectId
from editvc.core.invisible import require_visible
from editvc.errors import EditvcError
from editvc.porcelain.combine import (
    CombinePreview,
    changes_between,
    combined,
    merge_base,
    slots_of,
)
from editvc.porcelain.conflicts import conflicts_of
from editvc.porcelain.sequencer import Combination, carry_on
from editvc.session.on_branch import Tip, move, on_branch, tip_of_head
from editvc.session.recording import with_changes
from editvc.session.session import Session
from editvc.vcs.pending import Pending
from editvc.vcs.refs import BRANCHES, HEAD
from editvc.vcs.store import ScratchStore
from editvc.vcs.three_way import Merged, applied

Favour = Literal["ours", "theirs"]
"""Whose version conflicts get, where nobody is asked."""


class OctopusConflict(EditvcError):
    """Several revisions at once, and a place that two of them changed."""

    def __init__(self, revision: str, count: int) -> None:
        super().__init__(
            f"'{revision}' changes {count} place{'' if count == 1 else 's'} that the others "
            "changed as well, and several revisions are merged only where they do not meet",
            hint="Merge them one after the other.",
        )


def merge(
    session: Session,
    revisions: Sequence[str],
    *,
    favour: Favour | None,
    message: str | None,
    author: str,
) -> Combination:
    """Commit the union of HEAD's changes and those of ``revisions`` against what they share.

    They mean what they meant at the beginning. Ancestors bring nothing; a descendant is moved to.
    Stops at conflicts, unless ``favour`` decides them. Raises :class:`OctopusConflict`,
    ``OtherBase`` and ``OtherStatistics``.
    """
    require_visible(message=message)
    heads = {session.repository.revisions.commit(one): one for one in revisions}

    def attempt(tip: Tip) -> Combination:
        news = _news(session, tip, list(heads))
        if not news:
            return Combination(tip.commit, moved=False, verb="merge")
        if _is_fast_forward(session, tip, news):
            words = f"merge: fast-forward to {heads[news[0]]}"
            move(session, tip.ref, tip.commit, news[0], words)
            return Combination(news[0], verb="merge")
        names, store = [heads[one] for one in news], ScratchStore(session.repository.store)
        tree, found = _merged(session, store, tip, news, names, favour)
        pending = replace(
            _pending(session, tip, found, news, names),
            tree=_kept(session, store, tip.tree, tree),
            message=message or _message(session, tip, names),
            author=author,
        )
        return carry_on(session, pending)

    return on_branch(session, attempt)


def preview_merge(
    session: Session, revisions: Sequence[str], *, favour: Favour | None
) -> CombinePreview:
    """What ``merge`` would do to HEAD's branch; nothing is written.

    The changes are those without what is in conflict.
    """
    plumbing, tip = session.repository, tip_of_head(session)
    heads = {plumbing.revisions.commit(one): one for one in revisions}
    news = _news(session, tip, list(heads))
    store = ScratchStore(plumbing.store)
    if not news or _is_fast_forward(session, tip, news):
        goal = news[0] if news else tip.commit
        changes = changes_between(session, store, tip.tree, plumbing.tree_of(goal))
        return CombinePreview(0, changes, move=news[0] if news else None)
    names = [heads[one] for one in news]
    tree, found = _merged(session, store, tip, news, names, favour)
    pending = _pending(session, tip, found, news, names)
    changes = changes_between(session, store, tip.tree, tree)
    return CombinePreview(1, changes, conflicts_of(session, pending))


def _news(session: Session, tip: Tip, heads: Sequence[ObjectId]) -> list[ObjectId]:
    """The commits among ``heads`` that no other one reaches, and HEAD neither."""
    graph = session.repository.graph
    known = graph.reachable([tip.commit] if tip.commit else [])
    return [
        one
        for one in heads
        if one not in known
        and not any(other != one and graph.is_ancestor(one, other) for other in heads)
    ]


def _is_fast_forward(session: Session, tip: Tip, news: Sequence[ObjectId]) -> bool:
    plumbing = session.repository
    if tip.commit is None and len(news) > 1:
        plumbing.revisions.commit(HEAD)  # which says that there is no commit yet
    if len(news) > 1:
        return False
    return tip.commit is None or plumbing.graph.is_ancestor(tip.commit, news[0])


def _merged(
    session: Session,
    store: ScratchStore,
    tip: Tip,
    news: Sequence[ObjectId],
    names: Sequence[str],
    favour: Favour | None,
) -> tuple[Tree, Merged]:
    """The tree of HEAD and all ``news``, in ``store``, and the last merge: the one of a single."""
    tree, ours = tip.tree, [tip.commit] if tip.commit else []
    found = Merged({}, tree.patches, tree.restraint)
    for one, name in zip(news, names, strict=True):
        theirs = session.repository.tree_of(one)
        found = combined(session, store, merge_base(session, store, ours, one), tree, theirs)
        if len(news) > 1 and found.conflicting:
            count = len(found.conflicts) + (found.restraints is not None)
            raise OctopusConflict(name, count)
        if favour is not None:
            found = found.favouring(favour)
        tree, ours = applied(store, tree, found), [*ours, one]
    return tree, found


def _pending(
    session: Session, tip: Tip, found: Merged, news: Sequence[ObjectId], names: Sequence[str]
) -> Pending:
    """A merge on HEAD's branch: what it is about, and where it is in conflict."""
    assert tip.commit is not None, "a branch without a commit is moved"
    return Pending(
        verb="merge",
        ref=tip.ref,
        began=tip.commit,
        parent=tip.commit,
        tree=session.repository.read_commit(tip.commit).tree,
        message="",
        author="",
        time=None,
        about=", ".join(names),
        others=tuple(news),
        conflicts=found.conflicts,
        restraints=found.restraints,
    )


def _kept(session: Session, store: ScratchStore, before: Tree, after: Tree) -> ObjectId:
    """Store a tree whose nodes are in ``store`` alone; returns its id."""
    changed = with_changes(session, before, slots_of(store, before, after))
    tree = replace(changed, patches=after.patches, restraint=after.restraint)
    return session.repository.write(tree)


def _message(session: Session, tip: Tip, names: Sequence[str]) -> str:
    """As git writes it: the kind of each name, and the branch that they are merged into."""
    refs = session.repository.refs
    kinds = {**dict.fromkeys(refs.branches(), "branch"), **dict.fromkeys(refs.tags(), "tag")}
    words = [f"{kinds[name]} '{name}'" if name in kinds else f"commit {name}" for name in names]
    into = f" into {tip.ref.removeprefix(BRANCHES)}" if tip.ref.startswith(BRANCHES) else ""
    return f"Merge {' and '.join(words)}{into}"
