"""Which objects an object needs: what ``fsck`` follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from editvc.core.cut import quoted
from editvc.core.ids import ObjectId
from editvc.core.methods.table import REFERENCES
from editvc.core.record_types import is_object_id

Link = tuple[str, ObjectId]
"""The kind that the other object must be of, and its id."""

ELEMENT = "located edit"
"""Stands for any of ``ELEMENTS`` in a link."""

ELEMENTS = ("located", "patch", "codebook", "gate")
"""Kinds of objects that a live edit may be: they have a recipe, and a request that they answer."""


def fits(expected: str, kind: str) -> bool:
    """Whether an object of ``kind`` may stand where a link wants ``wanted``."""
    return kind in ELEMENTS if expected == ELEMENT else kind == expected


def links(record: dict[str, Any]) -> Iterator[Link]:
    """The objects that an object names; ``record`` is what it says about itself."""
    kind = record["kind"]
    if kind == "commit":
        yield "tree", record["tree"]
        yield from (("commit", parent) for parent in record["parents"])
        yield from _optional("delta", record["delta"])
    elif kind == "tree":
        yield "base", record["base"]
        yield from _optional("edits", record["edits"])
        yield from (("patch", patch) for patch in record.get("patches", ()))
        yield from ((ELEMENT, group) for group in record.get("groups", ()))
    elif kind == "edits" and "children" in record:
        yield from (("edits", child) for child, _ in record["children"].values())
    elif kind == "edits":
        for _, fact, located in record["entries"]:
            yield "fact", fact
            yield ELEMENT, located
    elif kind in ELEMENTS:
        yield from _optional("base", record.get("base"))
        yield from _optional("recipe", record.get("recipe"))
    elif kind == "recipe":
        for name, referred in REFERENCES.items():
            yield from _optional(referred, record.get(name))
    elif kind == "operation":
        yield from (("operation", parent) for parent in record["parents"])
        yield from (("commit", commit) for commit in record["refs"].values())
        for move in record["moves"]:
            yield from _optional("commit", move["old"])
            yield from _optional("commit", move["new"])
        yield from _optional("operation", record["restores"])
    elif kind == "editor":
        yield "base", record["base"]


def checked_links(record: dict[str, Any]) -> list[Link]:
    """:func:`links` of a record from outside. Raises ``ValueError`` for what is no id."""
    try:
        found = list(links(record))
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise ValueError(f"names other objects in no known way ({cause!r})") from cause
    for _, identifier in found:
        if not is_object_id(identifier):
            raise ValueError(f"names an object by {quoted(str(identifier))}, which is no id")
    return found


def _optional(kind: str, identifier: ObjectId | None) -> Iterator[Link]:
    if identifier is not None:
        yield kind, identifier
