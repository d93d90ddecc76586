"""The file of a tree's delta, as ``export --format delta`` writes it.

A commit has the delta of its tree at hand, for its figures. It leaves the file in the cache, and
the export that follows need not solve the set again, nor import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvc.core.history import Tree
from editvc.core.ids import ObjectId

if TYPE_CHECKING:
    from editvc.repo import Repo

KIND = "delta"


def delta_file(repo: Repo, tree: Tree) -> bytes:
    """The safetensors bytes of :func:`editvc.algebra.delta.delta_to_bytes` for a tree's delta."""
    identifier = repo.repository.write(tree)
    kept = repo.repository.cache.get(KIND, identifier)
    return kept if kept is not None else _made(repo, tree, identifier)


def keep_delta_file(repo: Repo, tree: Tree) -> None:
    """Put the file of a new HEAD's tree into the cache, in the place of the last one."""
    identifier = repo.repository.write(tree)
    data = _made(repo, tree, identifier)
    repo.repository.cache.put_alone(KIND, identifier, data)


def _made(repo: Repo, tree: Tree, identifier: ObjectId) -> bytes:
    from editvc.algebra.delta import delta_to_bytes

    model_type = repo.repository.read_base().model_type
    record = {"base": tree.base, "tree": identifier, "model_type": model_type}
    return delta_to_bytes(repo.materialiser.delta(tree), record)
