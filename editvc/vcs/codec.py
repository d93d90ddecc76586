"""Objects as bytes: canonical JSON for values, safetensors headers for the numbers.

Every object says what it is under ``kind``: in the JSON itself, or in the one metadata key
(``editvc``, canonical JSON again) of a safetensors file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from editvc.core.base import BaseModel, Identity
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, SlotId, canonical_json, object_id
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import recipe_from_json
from editvc.core.plain_json import JsonError, read_json
from editvc.core.record_types import is_object_id, misfit
from editvc.core.tensor_header import TensorHeaderError, is_tensor_file, read_record
from editvc.errors import EditvcError
from editvc.vcs.object_links import ELEMENTS
from editvc.vcs.operation import Operation
from editvc.vcs.store import ObjectDamaged

T = TypeVar("T")


class ObjectUnreadable(ObjectDamaged):
    """Bytes that are what was written, but not an object of the kind that was asked for."""


class Record(dict[str, Any]):
    """What an object says about itself; what it does not say is damage, and not a bug."""

    def __init__(self, record: dict[str, Any], identifier: ObjectId) -> None:
        super().__init__(record)
        self.id = identifier

    def __missing__(self, key: str) -> Any:
        raise ObjectUnreadable(self.id, f"does not say its {key!r}")


NAMING = ("base", "recipe", "anchor", "statistics")
"""Keys under which the tensor file of an element has an id, or null."""

ORIGIN = ("kind", "source", "digest")
"""Texts under the key ``import`` of a patch."""


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
        rows = [[entry.slot, entry.fact, entry.element] for entry in self.entries]
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
Value = Fact | BaseModel | Identity | Recipe | Tree | Commit | Operation | Leaf | Branch


def encode(value: Value) -> bytes:
    """The bytes of a value; their sha256 is the value's id."""
    return canonical_json(value.to_json())


def record_of(data: bytes) -> dict[str, Any]:
    """What an object says about itself: its JSON, or the record of a safetensors file.

    Raises :class:`ObjectUnreadable` where it is neither, or has no ``kind``.
    """
    return metadata(data) if is_tensor_file(data) else _value_record(data)


def metadata(data: bytes) -> Record:
    """The record of a safetensors file, read from its header alone.

    ``data`` may be cut after the header. Raises :class:`ObjectUnreadable`, also where what should
    be an id is none, and later for a key that is asked for and is not there.
    """
    try:
        record = _with_kind(read_record(data), data)
    except TensorHeaderError as cause:
        raise ObjectUnreadable(object_id(data), str(cause)) from cause
    for name in NAMING if record["kind"] in ELEMENTS else ():
        if not (record.get(name) is None or is_object_id(record[name])):
            raise ObjectUnreadable(object_id(data), f"has a {name!r} that is no object's id")
    origin = record.get("import", dict.fromkeys(ORIGIN, ""))
    if not isinstance(origin, dict) or not all(isinstance(origin.get(key), str) for key in ORIGIN):
        raise ObjectUnreadable(object_id(data), "does not say where it was imported from")
    return Record(record, object_id(data))


def kind_of(data: bytes) -> str:
    """``fact``, ``commit``, ``located``... Raises :class:`ObjectUnreadable`."""
    return str(record_of(data)["kind"])


def _value_record(data: bytes) -> dict[str, Any]:
    """The JSON of a value."""
    try:
        record = read_json(data)
    except JsonError as cause:
        problem = f"is neither JSON nor safetensors: {cause}"
        raise ObjectUnreadable(object_id(data), problem) from cause
    return _with_kind(record, data)


def _with_kind(record: Any, data: bytes) -> dict[str, Any]:
    """The record of ``data``, where it is an object that names its kind."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
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


def decode_identity(data: bytes) -> Identity:
    """The whole identity of a base."""
    return _decoded(data, "identity", Identity.from_json)


def decode_recipe(data: bytes) -> Recipe:
    """A recipe of any method."""
    return _decoded(data, "recipe", recipe_from_json)


def decode_tree(data: bytes) -> Tree:
    """A tree."""
    return _decoded(data, "tree", Tree.from_json)


def decode_commit(data: bytes) -> Commit:
    """A commit."""
    return _decoded(data, "commit", Commit.from_json)


def decode_operation(data: bytes) -> Operation:
    """An operation."""
    return _decoded(data, "operation", Operation.from_json)


def decode_node(data: bytes) -> Node:
    """A node of the edit set."""
    return _decoded(data, "edits", _node)


def _node(record: dict[str, Any]) -> Node:
    if "entries" in record:
        rows = record["entries"]
        return Leaf(tuple(Entry(SlotId(s), ObjectId(f), ObjectId(n)) for s, f, n in rows))
    children = sorted(record["children"].items())
    if not {digit for digit, _ in children} <= {*"0123456789abcdef"}:
        raise ValueError("its children go by what is no digit")
    return Branch(tuple((digit, ObjectId(child), count) for digit, (child, count) in children))


def _decoded(data: bytes, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    record = _value_record(data)
    if record["kind"] != kind:
        problem = f"is a '{record['kind']}' where a '{kind}' is needed"
        raise ObjectUnreadable(object_id(data), problem)
    try:
        value = build(record)
        wrong = misfit(value)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, EditvcError) as cause:
        raise ObjectUnreadable(object_id(data), f"is a malformed '{kind}': {cause}") from cause
    if wrong is not None:
        raise ObjectUnreadable(object_id(data), f"is a malformed '{kind}': its {wrong} is none")
    return value
