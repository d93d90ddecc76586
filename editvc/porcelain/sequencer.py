"""Making commits one after the other, off the branch, which moves once, when all are there.

A merge is one such commit, with several parents; ``cherry-pick`` and ``rebase`` replay what commits
changed. Where a place is in conflict, what was made so far waits in ``.editvc/pending.json`` and
the branch stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from editvc.core.history import Commit, Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, short
from editvc.errors import EditvcError
from editvc.materialise.interference import Interference, interferences
from editvc.porcelain.combine import (
    CombinePreview,
    change_base,
    changes_between,
    combined,
)
from editvc.porcelain.conflicts import Conflict, conflicts_of
from editvc.session.delta_cache import keep_delta_file
from editvc.session.on_branch import Tip, move
from editvc.session.reactions import LIMIT, LINEAR_LIMIT
from editvc.session.recording import build, record, with_changes
from editvc.session.session import Session
from editvc.session.unfinished import NothingWaits, require_finished, required
from editvc.vcs.pending import RESTRAINT, Pending
from editvc.vcs.refs import BranchMoved
from editvc.vcs.store import ScratchStore
from editvc.vcs.three_way import Sides, applied


class Undecided(EditvcError):
    """``--continue`` while places are still in conflict."""

    def __init__(self, pending: Pending) -> None:
        places = pending.open
        super().__init__(
            f"{len(places)} of {len(pending.places)} conflicts are not decided: "
            + ", ".join(map(short, places[:5])),
            hint="`editvc resolve SLOT --ours`, `--theirs`, `--base` or `--remove`; "
            "`editvc status` shows them.",
        )
        self.places = places


@dataclass(frozen=True, slots=True)
class Combination:
    """What a merge or a replay came to: the branch's ``tip``, and the commits ``made`` for it.

    Where it stopped at ``conflicts``, the branch is where it was. Nothing made and a new tip is a
    fast-forward. ``near`` are facts of both sides of a merge of which one acts on the other.
    """

    tip: ObjectId | None
    made: tuple[tuple[ObjectId, Commit], ...] = ()
    moved: bool = True
    conflicts: tuple[Conflict, ...] = ()
    near: tuple[Interference, ...] = ()
    verb: str = ""

    def to_json(self) -> dict[str, Any]:
        """The contract of ``merge``, ``cherry-pick`` and ``rebase`` with ``--json``."""
        return {
            "commit": self.tip,
            "made": [identifier for identifier, _ in self.made],
            "moved": self.moved,
            "conflicts": [one.to_json() for one in self.conflicts],
            "near": [one.to_json() for one in self.near],
        }


def carry_on(session: Session, pending: Pending, *, resumed: bool = False) -> Combination:
    """Make the commits that are to be made; stop where a place is undecided.

    ``resumed`` is what waited before. Raises ``BranchMoved`` where the branch is elsewhere.
    """
    near: tuple[Interference, ...] = ()
    while not pending.open:
        tree = decided(session, pending)
        for other in pending.others:
            near += _between(session, pending.parent, other, tree)
        if pending.others or tree != session.repository.tree_of(pending.parent):
            made, _ = build(
                session,
                pending.parent,
                tree,
                message=pending.message,
                author=pending.author,
                time=session.clock() if pending.time is None else pending.time,
                others=pending.others,
            )
            pending = replace(pending, parent=made, others=(), done=(*pending.done, made))
        if not pending.todo:
            return replace(finish(session, pending), near=near)
        pending = _next(session, pending)
    wait(session, pending, resumed=resumed)
    conflicts = conflicts_of(session, pending)
    return Combination(pending.began, moved=False, conflicts=conflicts, verb=pending.verb)


def decided(session: Session, pending: Pending) -> Tree:
    """The tree of what waits, with what was chosen for each place."""
    tree = session.repository.read_tree(pending.tree)
    changes: dict[SlotId, Entry | None] = {
        slot: _chosen(sides, pending.chosen[slot]) for slot, sides in pending.conflicts.items()
    }
    if pending.restraints is not None:
        restraint: Restraint | None = _chosen(pending.restraints, pending.chosen[RESTRAINT])
        tree = replace(tree, restraint=restraint)
    return with_changes(session, tree, changes)


def _between(
    session: Session, ours: ObjectId | None, theirs: ObjectId, tree: Tree
) -> tuple[Interference, ...]:
    one, other = (session.repository.tree_of(side) for side in (ours, theirs))
    return interferences(session.materialiser, one, other, tree, keys=LINEAR_LIMIT, gates=LIMIT)


def _chosen(sides: Sides[Any], side: str) -> Any:
    return None if side == "none" else getattr(sides, side)


def _next(session: Session, pending: Pending) -> Pending:
    """What waits next: the change of the first commit still to do, on top of what is there."""
    plumbing = session.repository
    commit, *todo = pending.todo
    old, ours = plumbing.read_commit(commit), plumbing.tree_of(pending.parent)
    base, theirs = change_base(session, commit), plumbing.tree_of(commit)
    merge = combined(session, plumbing.store, base, ours, theirs)
    return replace(
        pending,
        tree=plumbing.write(applied(plumbing.store, ours, merge)),
        message=old.message,
        author=old.author,
        time=old.time if pending.verb == "rebase" else None,
        conflicts=merge.conflicts,
        restraints=merge.restraints,
        chosen={},
        todo=tuple(todo),
        replayed=commit,
    )


def finish(session: Session, pending: Pending) -> Combination:
    """Move the branch, its base in force with it; nothing waits from here on."""
    plumbing = session.repository
    made = tuple((one, plumbing.read_commit(one)) for one in pending.done)
    if made:
        keep_delta_file(session, plumbing.read_tree(made[-1][1].tree))
        record(
            session,
            Tip(pending.ref, pending.began, plumbing.tree_of(pending.began)),
            *made[-1],
            verb=pending.verb,
            message=pending.about,
            earlier=[commit for _, commit in made[:-1]],
            base=pending.base,
        )
    elif pending.parent != pending.began:
        message = f"{pending.verb}: {pending.about}"
        move(session, pending.ref, pending.began, pending.parent, message)
    plumbing.pending.remove()
    return Combination(pending.parent, made, pending.parent != pending.began, verb=pending.verb)


def wait(session: Session, pending: Pending, *, resumed: bool = False) -> None:
    """Keep what waits, unless the branch has moved, or something else waits already."""
    plumbing = session.repository
    with plumbing.index.transaction():
        actual = plumbing.refs.get(pending.ref)
        if actual != pending.began:
            raise BranchMoved(pending.ref, pending.began, actual)
        if not resumed:
            require_finished(session)
        plumbing.pending.save(pending)


def go_on(session: Session, verb: str) -> Combination:
    """``--continue``. Raises :class:`Undecided` and what ``unfinished.required`` raises."""
    pending = required(session, verb)
    if pending.open:
        raise Undecided(pending)
    if not pending.base:
        return carry_on(session, pending, resumed=True)
    done = carry_on(session.drafted(pending.base), pending, resumed=True)
    session.forget_base()
    return done


def skip(session: Session, verb: str) -> Combination:
    """``--skip``: leave out the commit that is in conflict, and go on with the next."""
    pending = required(session, verb)
    if pending.replayed is None:
        raise NothingWaits(
            f"a {verb} has no commit to leave out", hint=f"`editvc {verb} --abort` forgets it."
        )
    tree = session.repository.write(session.repository.tree_of(pending.parent))
    left_out = replace(pending, tree=tree, conflicts={}, restraints=None, chosen={})
    return carry_on(session, left_out, resumed=True)


def abort(session: Session, verb: str) -> ObjectId | None:
    """``--abort``: forget what waits; returns where the branch is, as it was all along."""
    pending = session.repository.pending.load()
    if pending is None or pending.verb != verb:
        required(session, verb)
    session.repository.pending.remove()
    return session.repository.refs.head().commit


def preview_replay(session: Session, pending: Pending) -> CombinePreview:
    """What :func:`carry_on` would do with commits to replay; nothing is written."""
    plumbing = session.repository
    store, before = ScratchStore(plumbing.store), plumbing.tree_of(pending.parent)
    ours, count = before, 0
    for commit in pending.todo:
        merge = combined(
            session, store, change_base(session, commit), ours, plumbing.tree_of(commit)
        )
        if merge.conflicting:
            stopped = replace(
                pending, conflicts=merge.conflicts, restraints=merge.restraints, replayed=commit
            )
            changes = changes_between(session, store, before, ours)
            return CombinePreview(count, changes, conflicts_of(session, stopped))
        after = applied(store, ours, merge)
        ours, count = after, count + (after != ours)
    start = plumbing.tree_of(pending.began)
    return CombinePreview(count, changes_between(session, store, start, ours))
