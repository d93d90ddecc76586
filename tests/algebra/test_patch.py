"""Patches and their bytes."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import factored

from editvc.algebra.delta import Delta, DeltaDamageError, delta_to_bytes
from editvc.algebra.patch import Patch

DELTA = Delta({3: factored(4, 6, 2)}, {"q": factored(4, 4, 1)})


def test_bytes_round_trip() -> None:
    data = Patch(DELTA, {"loss": 0.5}).to_bytes({"import": {"from": "é"}})
    back = Patch.from_bytes(data)
    assert back.figures == {"loss": 0.5}
    assert torch.equal(back.delta.layers[3].left, DELTA.layers[3].left.float().double())
    assert torch.equal(back.delta.weights["q"].right, DELTA.weights["q"].right.float().double())


@pytest.mark.parametrize(
    "record",
    [{}, {"kind": "delta", "figures": {}}, {"kind": "patch"}, {"kind": "patch", "figures": 1}],
)
def test_a_delta_of_another_kind_is_no_patch(record: dict[str, object]) -> None:
    with pytest.raises(DeltaDamageError, match="a patch is needed, this is"):
        Patch.from_bytes(delta_to_bytes(DELTA, record))
