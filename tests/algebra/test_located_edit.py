"""Located edits and their bytes."""

from __future__ import annotations

import pytest
import torch

from editvc.algebra.located_edit import Located, LocatedDamageError
from editvc.algebra.tensor_file import pack


def located() -> Located:
    draw = torch.Generator().manual_seed(5)
    keys = {layer: torch.randn(5, generator=draw) for layer in (11, 3)}
    residuals = {layer: torch.randn(4, 2, generator=draw)[:, 0] for layer in (11, 3)}
    return Located(keys, residuals, {"loss": 0.25})


def test_bytes_round_trip_in_the_order_of_layers() -> None:
    edit = located()
    data = edit.to_bytes({"request": "é"})
    back = Located.from_bytes(data)
    assert list(back.keys) == list(back.residuals) == [3, 11]
    assert back.figures == edit.figures
    for layer in (3, 11):
        assert torch.equal(back.keys[layer], edit.keys[layer])
        assert torch.equal(back.residuals[layer], edit.residuals[layer])
    assert back.to_bytes({"request": "é"}) == data


@pytest.mark.parametrize(
    ("names", "record"),
    [
        (["layer.3.key"], {"kind": "located"}),
        (["layer.3.key", "layer.3.song"], {"kind": "located", "figures": {}}),
        (["layer.x.key"], {"kind": "located", "figures": {}}),
        (["layer.3.key", "layer.3.residual"], {"kind": "patch", "figures": {}}),
    ],
)
def test_what_is_no_located_edit(names: list[str], record: dict[str, object]) -> None:
    data = pack({name: torch.ones(2) for name in names}, record)
    with pytest.raises(LocatedDamageError, match="not a located edit: "):
        Located.from_bytes(data)
