"""What one command did to the refs, as an object of its own: an operation, as in jj.

Each names the one before it. Together they are a second home of refs and reflog, among the files
of the objects, and what ``undo`` goes back along.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.vcs.refs import ReflogEntry


@dataclass(frozen=True, slots=True)
class View:
    """Where everything is: HEAD's target as it is stored, and each ref by name with its commit."""

    head: str | None
    refs: tuple[tuple[str, ObjectId], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of refs: the view it left, and the lines that it added to the reflog, in order.

    ``number`` counts along the first of ``parents``, the first operation (``init``, or that of a
    repository older than operations) being 1. ``restores`` is the operation whose view an ``undo``
    or a ``redo`` brought back; never itself one that restores.
    """

    number: int
    parents: tuple[ObjectId, ...]
    view: View
    moves: tuple[ReflogEntry, ...] = ()
    restores: ObjectId | None = None

    @property
    def message(self) -> str:
        """What was done, in the words of the reflog."""
        return self.moves[-1].message if self.moves else "init"

    @property
    def author(self) -> str:
        """Who did it; empty for the first one."""
        return self.moves[-1].author if self.moves else ""

    @property
    def time(self) -> int:
        """When, in seconds since the epoch, UTC; 0 for the first one."""
        return self.moves[-1].time if self.moves else 0

    @property
    def commits(self) -> set[ObjectId]:
        """Every commit that it names."""
        moved = {commit for move in self.moves for commit in (move.old, move.new) if commit}
        return moved | {commit for _, commit in self.view.refs}

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the operation's id is computed."""
        return {
            "kind": "operation",
            "number": self.number,
            "parents": list(self.parents),
            "head": self.view.head,
            "refs": dict(self.view.refs),
            "moves": [asdict(move) for move in self.moves],
            "restores": self.restores,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Operation:
        """The inverse of :meth:`to_json`."""
        return cls(
            number=record["number"],
            parents=tuple(record["parents"]),
            view=View(record["head"], tuple(sorted(record["refs"].items()))),
            moves=tuple(ReflogEntry(**move) for move in record["moves"]),
            restores=record["restores"],
        )
