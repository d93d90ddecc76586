"""What fsck makes of objects that nothing leads to, while others take them away."""

from __future__ import annotations

from typing import Any

from editvc.core.ids import ObjectId
from editvc.vcs.fsck_operations import leads_to

TREE, NODE, FACT, ELEMENT = (ObjectId(letter * 64) for letter in "1234")
RECORDS: dict[ObjectId, dict[str, Any]] = {
    TREE: {"kind": "tree", "base": "5" * 64, "edits": NODE},
    NODE: {"kind": "edits"},
    FACT: {"kind": "fact"},
}


def test_a_node_leads_to_its_entries_as_far_as_they_are_there() -> None:
    whole = {"kind": "edits", "entries": [["slot", FACT, ELEMENT]]}
    assert leads_to([TREE], RECORDS, lambda node: whole) == {TREE, NODE, FACT}


def test_a_node_that_went_since_leads_to_nothing() -> None:
    assert leads_to([TREE], RECORDS, lambda node: None) == {TREE, NODE}
