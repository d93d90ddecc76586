"""Whether a lock file and a tree are of one set of edits."""

from __future__ import annotations

from collections.abc import Iterator

from editvc.core.cut import quoted
from editvc.core.history import Tree
from editvc.core.ids import object_id, short
from editvc.publish.lock import Lock
from editvc.session.session import Session
from editvc.vcs.codec import encode


def locked_otherwise(session: Session, lock: Lock, tree: Tree) -> Iterator[str]:
    """What the lock file says of a tree of the repository, and that is not so: in words."""
    identifier = object_id(encode(tree))
    if lock.tree != identifier:
        yield f"names tree {short(lock.tree)}, not {short(identifier)}"
    if lock.base.id != tree.base:
        yield f"names base {short(lock.base.id)}, not {short(tree.base)}"
    plumbing = session.repository
    locked = {(one.slot, one.fact.id, one.located): one.fact for one in lock.edits}
    live = {
        (entry.slot, entry.fact, entry.element): entry
        for entry in plumbing.edits_of(tree).entries()
    }
    for hidden in sorted(live.keys() - locked.keys()):
        question = plumbing.read_fact(live[hidden].fact).question
        yield f"does not list the edit of {quoted(question)}"
    for strange in sorted(locked.keys() - live.keys()):
        yield f"lists {quoted(locked[strange].question)}, which is no edit of the tree"
    for patch in sorted({*tree.patches} ^ {one["patch"] for one in lock.patches}):
        yield f"differs from the tree in patch {short(patch)}"
