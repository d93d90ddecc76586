"""Objects as bytes: canonical JSON for values, safetensors headers for the numbers.

Every object says what it is under ``kind``: in the JSON itself, or in the one metadata key
(``editvc``, canonical JSON again) of a safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from editvc.core.base import BaseModel
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, SlotId, canonical_json, object_id
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import recipe_from_json
from editvc.errors import EditvcError
from editvc.vcs.store import ObjectDamaged

METADATA_KEY = "editvc"

T = TypeVar("T")


class ObjectUnreadable(ObjectDamaged):
    """Bytes that are what was written, but not an object of the kind that was asked for."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node of the edit set that holds its entries itself, in slot order."""

    entries: tuple[Entry, ...]

    @property
    def count(self) -> int:
        """How many entries stand below this node."""
        return len(self.entries)

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        rows = [[entry.slot, entry.fact, entry.located] for entry in self.entries]
        return {"kind": "edits", "entries": rows}


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of the edit set that splits by the next hex digit of the slot.

    ``children`` maps the digit to a node's id and the number of entries below it, in digit order.
    """

    children: tuple[tuple[str, ObjectId, int], ...]

    @property
    def count(self) -> int:
        """How many entries stand below this node."""
        return sum(count for _, _, count in self.children)

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        children = {digit: [child, count] for digit, child, count in self.children}
        return {"kind": "edits", "children": children}


Node = Leaf | Branch
Value = Fact | BaseModel | Recipe | Tree | Commit | Leaf | Branch


def encode(value: Value) -> bytes:
    """The bytes of a value; their sha256 is the value's id."""
    return canonical_json(value.to_json())


def record_of(data: bytes) -> dict[str, Any]:
    """What an object says about itself: its JSON, or the metadata of a safetensors file.

    Raises :class:`ObjectUnreadable` where it is neither, or has no ``kind``.
    """
    if not _is_safetensors(data):
        return _parsed(data, data)
    return metadata(data)


def metadata(data: bytes) -> dict[str, Any]:
    """The ``editvc`` metadata of a safetensors file, read from its header alone.

    ``data`` may be cut after the header. Raises :class:`ObjectUnreadable`.
    """
    if not _is_safetensors(data):
        raise ObjectUnreadable(object_id(data), "is no safetensors file")
    header = _parsed(data[8 : 8 + int.from_bytes(data[:8], "little")], data, kind=False)
    named = header.get("__metadata__")
    text = named.get(METADATA_KEY) if isinstance(named, dict) else None
    if not isinstance(text, str):
        raise ObjectUnreadable(object_id(data), f"has no '{METADATA_KEY}' metadata")
    return _parsed(text.encode(), data)


def kind_of(data: bytes) -> str:
    """``fact``, ``commit``, ``located``... Raises :class:`ObjectUnreadable`."""
    return str(record_of(data)["kind"])


def _is_safetensors(data: bytes) -> bool:
    # JSON cannot pass for it: its first eight bytes, as a length, are far past any file's end.
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _parsed(text: bytes, data: bytes, *, kind: bool = True) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as cause:
        raise ObjectUnreadable(object_id(data), "is neither JSON nor safetensors") from cause
    if not isinstance(record, dict) or (kind and not isinstance(record.get("kind"), str)):
        raise ObjectUnreadable(object_id(data), "does not say what kind of object it is")
    return record


def decode_fact(data: bytes) -> Fact:
    """The inverse of :func:`encode`. Raises :class:`ObjectUnreadable`, as all of these do."""
    return _decoded(data, "fact", Fact.from_json)


def decode_base(data: bytes, *, source: str, revision: str | None) -> BaseModel:
    """A base model, with the place to load it from, which is not part of the object."""

    def build(record: dict[str, Any]) -> BaseModel:
        return BaseModel.from_json(record, source=source, revision=revision)

    return _decoded(data, "base", build)


def decode_recipe(data: bytes) -> Recipe:
    """A recipe of any method."""
    return _decoded(data, "recipe", recipe_from_json)


def decode_tree(data: bytes) -> Tree:
    """A tree."""
    return _decoded(data, "tree", Tree.from_json)


def decode_commit(data: bytes) -> Commit:
    """A commit."""
    return _decoded(data, "commit", Commit.from_json)


def decode_node(data: bytes) -> Node:
    """A node of the edit set."""
    return _decoded(data, "edits", _node)


def _node(record: dict[str, Any]) -> Node:
    if "entries" in record:
        rows = record["entries"]
        return Leaf(tuple(Entry(SlotId(s), ObjectId(f), ObjectId(n)) for s, f, n in rows))
    children = sorted(record["children"].items())
    return Branch(tuple((digit, ObjectId(child), count) for digit, (child, count) in children))


def _decoded(data: bytes, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    record = _parsed(data, data)
    if record["kind"] != kind:
        problem = f"is a '{record['kind']}' where a '{kind}' is needed"
        raise ObjectUnreadable(object_id(data), problem)
    try:
        return build(record)
    except (KeyError, TypeError, ValueError, AttributeError, EditvcError) as cause:
        raise ObjectUnreadable(object_id(data), f"is a malformed '{kind}': {cause}") from cause
