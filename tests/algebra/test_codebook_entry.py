"""Entries of a codebook and their bytes."""

from __future__ import annotations

import pytest
import torch

from editvc.algebra.codebook_entry import CodebookDamageError, CodebookEntry


def test_entries_survive_their_bytes_and_other_bytes_are_refused():
    draw = torch.Generator().manual_seed(6)
    keys, values = (torch.randn(2, width, generator=draw) for width in (5, 4))
    one = CodebookEntry(3, keys, values, (4, 9), {"loss": 0.5})
    data = one.to_bytes({"request": "abc"})
    again = CodebookEntry.from_bytes(data)
    assert (again.layer, again.target, again.figures) == (3, (4, 9), {"loss": 0.5})
    assert torch.equal(again.keys, one.keys) and torch.equal(again.values, one.values)
    assert data == one.to_bytes({"request": "abc"})
    for damaged in (b"", b"{}", data[:40], data[:-4]):
        with pytest.raises(CodebookDamageError):
            CodebookEntry.from_bytes(damaged)
