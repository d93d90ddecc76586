"""The file of a tree's delta, as ``export --format delta`` writes it.

A commit has the delta of its tree at hand, for its figures. It leaves the file in the cache, and
the export that follows need not solve the set again, nor import torch.
"""

from __future__ import annotations

from editvc.core.history import Tree
from editvc.core.ids import ObjectId
from editvc.session.session import Session

KIND = "delta"


def delta_file(session: Session, tree: Tree) -> bytes:
    """The safetensors bytes of :func:`editvc.algebra.delta.delta_to_bytes` for a tree's delta."""
    identifier = session.repository.write(tree)
    kept = session.repository.cache.get(KIND, identifier)
    return kept if kept is not None else _made(session, tree, identifier)


def keep_delta_file(session: Session, tree: Tree) -> None:
    """Put the file of a new HEAD's tree into the cache, in the place of the last one."""
    identifier = session.repository.write(tree)
    data = _made(session, tree, identifier)
    session.repository.cache.put_alone(KIND, identifier, data)


def _made(session: Session, tree: Tree, identifier: ObjectId) -> bytes:
    from editvc.algebra.delta import delta_to_bytes

    model_type = session.repository.read_base().model_type
    record = {"base": tree.base, "tree": identifier, "model_type": model_type}
    return delta_to_bytes(session.materialiser.delta(tree), record)
