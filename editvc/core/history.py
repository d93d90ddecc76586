"""Versions of a model: the set of edits, its restraint, and the commits that led to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from editvc.core.ids import ObjectId, SlotId


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One live edit of a tree: its slot, the fact in it, and what was made of that fact.

    ``element`` names a located edit, a patch or a codebook entry, by the method of its recipe.
    """

    slot: SlotId
    fact: ObjectId
    element: ObjectId


@dataclass(frozen=True, slots=True)
class Restraint:
    """What is done to the total delta of a layer when weights are made (``compact``).

    ``prune`` is the base ``a`` of PRUNE's logarithm (``math.e``, 1.2, 1.5): singular values above
    the largest one of the base weight are pulled towards it. ``linear`` is what PRUNE's linear
    variant divides their excess by. ``rank`` keeps the largest singular values; ``energy`` keeps
    as many as hold that share of the squared Frobenius norm. ``rect`` keeps that percentage of the
    entries, those with the largest relative change (RECT's k). ``drop`` is the probability with
    which an entry is dropped, the others being scaled up (AdaPLE's DR), drawn from ``seed``: 0
    where none is named. They are applied in this order. ``drop_each`` comes before all of them: the
    same with a mask of its own for every edit's share of the change, drawn from ``seed``, too.
    """

    prune: float | None = None
    rank: int | None = None
    energy: float | None = None
    linear: float | None = None
    rect: float | None = None
    drop: float | None = None
    seed: int | None = None
    drop_each: float | None = None

    def __post_init__(self) -> None:
        if self.draws and self.seed is None:
            object.__setattr__(self, "seed", 0)

    @property
    def draws(self) -> bool:
        """Whether anything is left to chance, and so to the seed."""
        return self.drop is not None or self.drop_each is not None

    @property
    def of_the_sum(self) -> Restraint:
        """What is done to the total, once every edit's share of it has its mask."""
        return replace(self, drop_each=None, seed=None if self.drop is None else self.seed)

    @property
    def chooses_entries(self) -> bool:
        """Whether single entries are kept or left out: such a delta has full rank."""
        return self.rect is not None or self.drop is not None

    @property
    def words(self) -> str:
        """What is set, for people: ``prune 2.71828, rank 8``."""
        return ", ".join(
            f"{name} {value if isinstance(value, int) else format(value, 'g')}"
            for name, value in self.to_json().items()
        )

    def to_json(self) -> dict[str, Any]:
        """Only what is set."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Tree:
    """A model version: base, set of edits, restraint. Equal sets have equal ids.

    ``edits`` is the root node of the edit set (``vcs/edit_set.py``), ``None`` for the empty set.
    ``patches`` are those that stand for no fact, such as imported adapters, in the order of ids.
    ``groups`` are elements made for several facts of one subject together, which take the place of
    what was made of each: a function of the edits (``session/groups.py``), in the order of ids.
    """

    base: ObjectId
    edits: ObjectId | None = None
    restraint: Restraint | None = None
    patches: tuple[ObjectId, ...] = ()
    groups: tuple[ObjectId, ...] = ()

    def __post_init__(self) -> None:
        for name in ("patches", "groups"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the tree's id is computed."""
        record = {
            "kind": "tree",
            "base": self.base,
            "edits": self.edits,
            "restraint": self.restraint.to_json() if self.restraint else None,
        }
        beside = {"patches": list(self.patches), "groups": list(self.groups)}
        return record | {name: ids for name, ids in beside.items() if ids}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Tree:
        """The inverse of :meth:`to_json`."""
        restraint = record["restraint"]
        return cls(
            base=record["base"],
            edits=record["edits"],
            restraint=Restraint(**restraint) if restraint is not None else None,
            patches=tuple(record.get("patches", ())),
            groups=tuple(record.get("groups", ())),
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """A tree with its reason: who made it, when, why, and from what.

    ``number`` counts along first parents, the first commit being 1. ``edits`` is how many slots
    the commit changed against its first parent, ``live`` how many its tree holds. ``delta`` is the
    object with the commit's low-rank factors (``None`` where no slot changed). ``health`` holds
    the figures of that moment, by name. ``time`` is in whole seconds since the epoch, UTC.
    ``signature`` is one of all the rest, armoured as ``ssh-keygen`` has it.
    """

    tree: ObjectId
    parents: tuple[ObjectId, ...]
    author: str
    time: int
    message: str
    number: int
    edits: int
    live: int
    delta: ObjectId | None
    health: tuple[tuple[str, float], ...] = ()
    signature: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the commit's id is computed."""
        signature = {} if self.signature is None else {"signature": self.signature}
        return signature | {
            "kind": "commit",
            "tree": self.tree,
            "parents": list(self.parents),
            "author": self.author,
            "time": self.time,
            "message": self.message,
            "number": self.number,
            "edits": self.edits,
            "live": self.live,
            "delta": self.delta,
            "health": dict(self.health),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Commit:
        """The inverse of :meth:`to_json`."""
        values = {key: value for key, value in record.items() if key != "kind"}
        values["parents"] = tuple(values["parents"])
        values["health"] = tuple(sorted(values["health"].items()))
        return cls(**values)
