"""``.editvc/pending.json``: a merge, or a replay of commits, that waits for a decision.

The branch has not moved: all that was made so far are objects that no ref leads to. So to abort is
to remove the file, and a branch that has moved since (another process, or this one, killed between
the move and the removal) makes it void.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from editvc.core.history import Entry, Restraint
from editvc.core.ids import ObjectId, SlotId, canonical_json
from editvc.errors import DamageError
from editvc.vcs.files import OF_THE_MACHINE, Files
from editvc.vcs.store import DIGITS
from editvc.vcs.three_way import SIDES, Sides

NAME = "pending.json"
VERBS = ("merge", "cherry-pick", "rebase")

Side = Literal["base", "ours", "theirs", "none"]
"""Whose entry a place gets; ``none`` leaves it empty."""

RESTRAINT = "restraint"
"""The name of the one place that is no slot."""


class PendingUnreadable(DamageError):
    """The file is not what was written."""

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(
            f"{path} cannot be read: {cause}",
            hint="Remove it: the branch is where it was before the merge began, which can be "
            "begun again.",
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Pending:
    """A command of the name ``verb`` on ``ref``, which was at ``began``.

    The commit to be made stands on ``parent`` and on ``others`` (what is merged), by ``author``
    with ``message``, at ``time`` (``None``: when it is made). Its tree is ``tree`` after what was
    ``chosen``, by slot, for the ``conflicts`` (and ``restraints``, under ``RESTRAINT``).
    ``done`` are commits made before it, on top of each other; ``todo`` those to replay after it.
    ``replayed`` is the commit that it replays. ``about`` says what is merged or replayed, in words.
    ``base`` are the settings of the base that all this is made over, by dotted key, where it is
    another one than that in force; it is in force once the branch has moved.
    """

    verb: str
    ref: str
    began: ObjectId
    parent: ObjectId
    tree: ObjectId
    message: str
    author: str
    time: int | None
    about: str
    others: tuple[ObjectId, ...] = ()
    conflicts: Mapping[SlotId, Sides[Entry]] = field(default_factory=dict)
    restraints: Sides[Restraint] | None = None
    chosen: Mapping[str, Side] = field(default_factory=dict)
    done: tuple[ObjectId, ...] = ()
    todo: tuple[ObjectId, ...] = ()
    replayed: ObjectId | None = None
    base: Mapping[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """Every place in conflict: slots in their order, then the restraint."""
        restraint = (RESTRAINT,) if self.restraints is not None else ()
        return (*sorted(self.conflicts), *restraint)

    @property
    def open(self) -> tuple[str, ...]:
        """The places for which nothing is chosen yet."""
        return tuple(place for place in self.places if place not in self.chosen)

    def choosing(self, place: str, side: Side) -> Pending:
        """The same with a decision."""
        return replace(self, chosen={**self.chosen, place: side})

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        restraints = self.restraints
        return {
            "verb": self.verb,
            "ref": self.ref,
            "began": self.began,
            "parent": self.parent,
            "tree": self.tree,
            "message": self.message,
            "author": self.author,
            "time": self.time,
            "about": self.about,
            "others": list(self.others),
            "conflicts": {
                slot: [
                    one and [one.fact, one.element]
                    for one in (sides.base, sides.ours, sides.theirs)
                ]
                for slot, sides in self.conflicts.items()
            },
            "restraints": restraints
            and [
                one and one.to_json()
                for one in (restraints.base, restraints.ours, restraints.theirs)
            ],
            "chosen": dict(self.chosen),
            "done": list(self.done),
            "todo": list(self.todo),
            "replayed": self.replayed,
        } | ({"base": dict(self.base)} if self.base else {})

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Pending:
        """The inverse of :meth:`to_json`. Raises ``ValueError`` and its like for anything else."""
        _check(record)
        restraints = record["restraints"]
        return cls(
            **record
            | {name: tuple(record[name]) for name in ("others", "done", "todo")}
            | {
                "conflicts": {
                    SlotId(slot): Sides(*(one and Entry(SlotId(slot), *one) for one in sides))
                    for slot, sides in record["conflicts"].items()
                },
                "restraints": restraints
                and Sides(*(one and Restraint(**one) for one in restraints)),
            }
        )


def _check(record: dict[str, Any]) -> None:
    """Raise ``ValueError`` unless ids are ids, texts texts, and choices choices."""
    ids = [
        record["tree"],
        *record["others"],
        *record["done"],
        *record["todo"],
        *record["conflicts"],
    ]
    ids += [record[name] for name in ("began", "parent", "replayed") if record[name] is not None]
    entries = [one for sides in record["conflicts"].values() for one in sides if one is not None]
    ids += [identifier for entry in entries for identifier in entry]
    if not all(isinstance(one, str) and DIGITS.fullmatch(one) for one in ids):
        raise ValueError("what should be an id is none")
    texts = (record["ref"], record["message"], record["author"], record["about"])
    if record["verb"] not in VERBS or not all(isinstance(one, str) for one in texts):
        raise ValueError("it names no command that waits")
    if not isinstance(record["time"], int | None):
        raise ValueError("its time is none")
    if not isinstance(record.get("base", {}), dict):
        raise ValueError("the settings of its base are none")
    places = {*record["conflicts"], RESTRAINT}
    if not ({*record["chosen"]} <= places and {*record["chosen"].values()} <= {*SIDES, "none"}):
        raise ValueError("what was chosen is no choice")


class PendingFile:
    """The file in the ``.editvc`` folder; there is none while nothing waits."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.path = folder / NAME
        self.files = files

    def load(self) -> Pending | None:
        """What waits. Raises :class:`PendingUnreadable`."""
        try:
            # A link leads elsewhere, and a pipe would be waited for.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ValueError("it is no regular file")
                return Pending.from_json(json.loads(file.read()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
            if isinstance(cause, OSError) and cause.errno in OF_THE_MACHINE:
                raise
            raise PendingUnreadable(self.path, cause) from cause

    def save(self, pending: Pending) -> None:
        """Replace it in one step. Raises ``WriteError``."""
        self.files.write(self.path, canonical_json(pending.to_json()))

    def remove(self) -> None:
        """Take it away for good, where it is there. Raises ``WriteError``."""
        self.files.remove(self.path)
