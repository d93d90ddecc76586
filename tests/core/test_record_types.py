"""Values of the types that a dataclass says, and the first field that is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from editvc.core.history import Commit, Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.core.record_types import misfit

ID = ObjectId("0" * 64)
COMMIT = Commit(ID, (ID,), "Ada <>", 5, "Why", 1, 2, 3, None, (("loss", 0.5), ("steps", 4)))


def test_sound_ones_fit() -> None:
    for value in (
        COMMIT, replace(COMMIT, delta=ID), Tree(ID), Tree(ID, ID, Restraint(rank=3, drop=0.5)),
        Entry(SlotId(ID), ID, ID),
    ):  # fmt: skip
        assert misfit(value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tree", 5), ("tree", None), ("parents", [ID]), ("parents", (5,)), ("parents", ID),
        ("author", None), ("time", "5"), ("time", 5.0), ("time", True), ("time", 1 << 63),
        ("message", ["x"]), ("delta", 0), ("health", (("loss",),)), ("health", (("loss", "x"),)),
        ("health", (("loss", True),)), ("health", {"loss": 1.0}),
    ],
)  # fmt: skip
def test_the_field_of_another_type_is_named(name: str, value: Any) -> None:
    assert misfit(replace(COMMIT, **{name: value})) == name


def test_inside_and_ids_of_slots() -> None:
    assert misfit(Tree(ID, None, Restraint(rank="3"))) == "restraint"  # type: ignore[arg-type]
    assert misfit(Entry(SlotId("00"), ID, ID)) == "slot"
