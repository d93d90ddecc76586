"""``editvc.lock.json``: what a published model was made from, exactly enough to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import REFERENCES, recipe_from_json
from editvc.core.plain_json import read_json
from editvc.core.record_types import is_object_id, misfit
from editvc.core.regular_file import read_regular
from editvc.errors import EditvcError
from editvc.version import __version__

LOCK_VERSION = 1
LARGEST = 1 << 28
"""Bytes: neither a lock file nor a ledger is longer."""
CHANGED = "The file was changed after editvc wrote it; fetch it again."


class LockError(EditvcError):
    """A file that is no lock of editvc, or one whose parts contradict each other."""


@dataclass(frozen=True, slots=True)
class LockedEdit:
    """One live edit: its slot, the fact itself, and how the numbers for it were found.

    ``located`` is the id of the numbers and ``recipe`` that of their recipe. ``batch`` is the
    digest of all the facts that a squash located together, ``None`` for an edit located alone.
    """

    slot: str
    fact: Fact
    located: str
    recipe: str
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """The ingredients of one export. The lock is a function of the tree and the export's format.

    History (commits, authors, times) is left out on purpose: equal sets of edits, however they
    came about, have equal locks. ``recipes`` are those that the edits were located with; a tree
    may hold edits of several, of which each has its share of the weights. ``statistics`` says of
    every second moment that they name, by its id, what it was computed from. ``export`` holds the
    figures of the result (format, digests). ``patches`` are those that stand for no fact: the id
    of each, and the kind, name and digest of what it was imported from.
    """

    base: BaseModel
    recipes: tuple[Recipe, ...]
    tree: str
    restraint: Restraint | None
    edits: tuple[LockedEdit, ...]
    export: Mapping[str, Any]
    statistics: Mapping[str, Mapping[str, Any]]
    version: str = __version__
    patches: tuple[Mapping[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """Equal locks have equal bytes: all is sorted, two spaces, a final newline."""
        base = self.base
        record = {
            "lock": LOCK_VERSION,
            "editvc": self.version,
            "base": {
                "source": base.source,
                "revision": base.revision,
                "id": base.id,
                "identity": base.to_json(),
            },
            "recipes": {recipe.id: recipe.to_json() for recipe in self.recipes},
            "statistics": {name: dict(origin) for name, origin in self.statistics.items()},
            "tree": self.tree,
            "restraint": self.restraint.to_json() if self.restraint else None,
            "edits": [
                {
                    "slot": edit.slot,
                    "fact_id": edit.fact.id,
                    "fact": edit.fact.to_json(),
                    "located": edit.located,
                    "recipe": edit.recipe,
                    "batch": edit.batch,
                }
                for edit in sorted(self.edits, key=lambda edit: edit.slot)
            ],
            "export": dict(self.export),
        }
        if self.patches:
            record["patches"] = [dict(patch) for patch in self.patches]
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Lock:
        """The inverse of :meth:`to_bytes`.

        Every id is computed again from what it stands for, and what an edit or a recipe names must
        be there; :class:`LockError` names the first that differs or is missing.
        """
        try:
            record = read_json(data)
            version = record["lock"]
        except (ValueError, KeyError, TypeError) as error:
            raise LockError("this is not a lock file of editvc") from error
        if version != LOCK_VERSION:
            raise LockError(
                f"the lock has version {version}, this editvc reads {LOCK_VERSION}",
                hint="Install a newer editvc: pip install -U editvc",
            )
        try:
            return _read(record)
        except LockError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, EditvcError) as error:
            raise LockError(f"the lock file is incomplete: {error!r}") from error


def read_lock(path: Path) -> Lock:
    """The lock in a file from anywhere.

    Raises :class:`LockError`, also for one that is too long, or that cannot be read: a pipe, say.
    """
    try:
        data = read_regular(path, LARGEST)
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror or error}") from error
    return Lock.from_bytes(data)


def _read(record: dict[str, Any]) -> Lock:
    stated = record["base"]
    base = BaseModel.from_json(
        stated["identity"], source=stated["source"], revision=stated["revision"]
    )
    _same("base", stated["id"], base.id)
    statistics = record["statistics"]
    recipes = {name: recipe_from_json(values) for name, values in record["recipes"].items()}
    for name, recipe in recipes.items():
        _same("recipe", name, recipe.id)
        for role, kind in REFERENCES.items():
            if kind == "statistics":
                _there(kind, getattr(recipe, role, None), statistics)
    edits = []
    for entry in record["edits"]:
        fact = Fact.from_json(entry["fact"])
        _same(f"fact {quoted(fact.question)}", entry["fact_id"], fact.id)
        _there("recipe", entry["recipe"], recipes)
        edits.append(
            LockedEdit(entry["slot"], fact, entry["located"], entry["recipe"], entry["batch"])
        )
    restraint = None if record["restraint"] is None else Restraint(**record["restraint"])
    for value in (base, *edits, *filter(None, [restraint])):
        if wrong := misfit(value):
            raise LockError(f"the lock file is unsound: {wrong} is of no such type", hint=CHANGED)
    ids = (record["tree"], *(edit.located for edit in edits))
    patches = tuple(record.get("patches", ()))
    ids += tuple(one.get("patch") for one in patches)
    known = isinstance(record["export"], dict) and isinstance(statistics, dict)
    if not known or not all(map(is_object_id, ids)):
        raise LockError("the lock file is unsound: its values are of other types", hint=CHANGED)
    return Lock(
        base=base,
        recipes=tuple(recipes.values()),
        tree=record["tree"],
        restraint=restraint,
        edits=tuple(edits),
        export=record["export"],
        statistics=statistics,
        version=record["editvc"],
        patches=patches,
    )


def _same(what: str, stated: str, computed: str) -> None:
    if stated != computed:
        raise LockError(
            f"the lock contradicts itself: {what} has id {computed}, the file says {stated}",
            hint=CHANGED,
        )


def _there(what: str, name: str | None, known: Mapping[str, Any]) -> None:
    if name is not None and name not in known:
        raise LockError(
            f"the lock contradicts itself: {what} {name} is named but not there", hint=CHANGED
        )
