"""The document of a remote: its refs, and the packs that hold what they lead to.

It comes from outside: whatever is read here has bounds, types and names that are checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from editvc.core.ids import ObjectId, canonical_json
from editvc.core.plain_json import JsonError, read_json
from editvc.core.record_types import is_object_id, misfit
from editvc.vcs.refs import BRANCHES, TAGS, BranchNameError, check_branch_name

FORMAT = "editvc remote 1"
LARGEST = 64 << 20
"""Bytes of a document, at most."""
MOST = 100_000
"""Refs and packs, at most, and commits that a pack is listed with."""
LARGEST_PACK = 1 << 40
"""Bytes."""
LONGEST_NAME = 200
"""Characters of a ref."""


class DocumentError(ValueError):
    """A document that no editvc has written. Says what is wrong with it, after "it"."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A pack of a remote: its digest, its bytes, and the ``commits`` that it was sent for.

    Whoever has these commits needs nothing of the pack.
    """

    id: ObjectId
    size: int
    commits: tuple[ObjectId, ...]

    @property
    def name(self) -> str:
        """Where it is in a remote."""
        return f"packs/{self.id}.pack"


@dataclass(frozen=True, slots=True)
class Document:
    """What a remote says of itself.

    ``base`` is the object of the base model that all is relative to; ``settings`` is the object
    with the configuration that a clone begins with, ``former`` those of bases that were in force
    before, by their bases; ``head`` the branch that it is on. ``refs`` are
    branches and tags by full names. ``common`` are the kinds of objects in packs that many commits
    stand on and no tree names, such as recipes and statistics. ``needs`` are commits that whoever
    fetches must have: none but in a bundle of a part of a history.
    """

    base: ObjectId
    settings: ObjectId
    head: str
    refs: Mapping[str, ObjectId] = field(default_factory=dict)
    packs: tuple[Listed, ...] = ()
    common: Mapping[ObjectId, str] = field(default_factory=dict)
    needs: tuple[ObjectId, ...] = ()
    former: Mapping[ObjectId, ObjectId] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The document as bytes."""
        packs = [{"id": o.id, "size": o.size, "commits": list(o.commits)} for o in self.packs]
        record = {
            "format": FORMAT,
            "base": self.base,
            "settings": self.settings,
            "head": self.head,
            "refs": dict(sorted(self.refs.items())),
            "packs": packs,
            "common": dict(sorted(self.common.items())),
            "needs": list(self.needs),
        }
        if self.former:
            record["former"] = dict(sorted(self.former.items()))
        return canonical_json(record)


def read_document(data: bytes) -> Document:
    """A document from outside. Raises :class:`DocumentError`."""
    if len(data) > LARGEST:
        raise DocumentError(f"is longer than {LARGEST} bytes")
    try:
        record = read_json(data)
    except JsonError as cause:
        raise DocumentError(f"is no JSON: {cause}") from cause
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DocumentError("is of no format that this editvc knows")
    try:
        document = _document(record)
    except (KeyError, TypeError, AttributeError, ValueError) as cause:
        raise DocumentError(f"lacks a part, or has another in its place: {cause}") from cause
    _require_sound(document)
    return document


def _document(record: Mapping[str, Any]) -> Document:
    packs = tuple(Listed(one["id"], one["size"], tuple(one["commits"])) for one in record["packs"])
    return Document(
        record["base"],
        record["settings"],
        record["head"],
        dict(record["refs"]),
        packs,
        dict(record["common"]),
        tuple(record["needs"]),
        dict(record.get("former", {})),
    )


def _require_sound(document: Document) -> None:
    """Raise :class:`DocumentError` unless every value is what it should be."""
    lists = (document.refs, document.packs, document.common, document.former)
    if max(map(len, lists)) > MOST:
        raise DocumentError(f"has more than {MOST} refs or packs")
    for ref, commit in document.refs.items():
        _require_ref(ref)
        _require_id(commit, f"the commit of {ref!a}")
    _require_ref(BRANCHES + document.head if isinstance(document.head, str) else document.head)
    for pack in document.packs:
        _require_id(pack.id, "a pack")
        if misfit(pack) is not None or not 0 < pack.size <= LARGEST_PACK:
            raise DocumentError("has a pack of no possible size")
        if len(pack.commits) > MOST:
            raise DocumentError(f"has a pack with more than {MOST} commits")
        for commit in pack.commits:
            _require_id(commit, "a commit of a pack")
    former = (*document.former, *document.former.values())
    for needed in (document.base, document.settings, *document.needs, *document.common, *former):
        _require_id(needed, "an object that it stands on")
    if not all(isinstance(kind, str) for kind in document.common.values()):
        raise DocumentError("has an object of a kind without a name")
    if len({pack.id for pack in document.packs}) != len(document.packs):
        raise DocumentError("lists a pack twice")


def _require_id(value: Any, what: str) -> None:
    if not is_object_id(value):
        raise DocumentError(f"names {what} by what is no id")


def _require_ref(ref: Any) -> None:
    """Branches and tags, by names that this repository could have given them."""
    if not isinstance(ref, str) or len(ref) > LONGEST_NAME:
        raise DocumentError("has a ref without a name, or with an endless one")
    kind = re.match(f"{BRANCHES}|{TAGS}", ref)
    if kind is None:
        raise DocumentError(f"has a ref that is neither a branch nor a tag: {ref!a}")
    try:
        check_branch_name(ref[kind.end() :])
    except BranchNameError as error:
        raise DocumentError(f"has a ref with an impossible name: {str(error)!a}") from error
