"""Second moments and their bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_near, rounding, size

from editvc.algebra.second_moment import SecondMoment, StatisticsDamageError
from editvc.algebra.tensor_file import pack


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 2**16))
def test_bytes_round_trip(rows, seed):
    root = torch.randn(rows, rows, generator=torch.Generator().manual_seed(seed))
    moment = (root @ root.T).double()
    written = SecondMoment.of({3: moment, 1: 2 * moment}, 7)
    data = written.to_bytes({"base": "x"})
    back = SecondMoment.from_bytes(data)
    assert back.layers == (1, 3)
    assert (back.samples, back.unit) == (7, "tokens")
    assert torch.equal(back.matrix(3), written.matrix(3))
    assert torch.equal(back.matrix(3), back.matrix(3).T)
    assert_near(back.matrix(1), 2 * moment, rounding(1, torch.float32))
    with pytest.raises(StatisticsDamageError):
        SecondMoment.from_bytes(data[:-2])


def test_small_bytes_are_near_and_positive_definite():
    root = torch.randn(9, 30, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    moment = SecondMoment.of({2: root @ root.T / 30}, 30, "names")
    data = moment.to_small_bytes({"base": "x"})
    assert len(data) < len(moment.to_bytes({"base": "x"}))
    back = SecondMoment.from_bytes(data)
    assert (back.layers, back.samples, back.unit) == ((2,), 30, "names")
    # A factor that is rounded is off relative to |L|^2, the trace; the diagonal is raised by 1e-6.
    expected = moment.matrix(2)
    scale, raised = float(expected.trace()), 1e-6 * size(expected.diagonal().mean().repeat(9))
    stored = rounding(1, torch.float16, scale) + rounding(1, torch.float32, scale)
    assert_near(back.matrix(2), expected, stored + raised, scale=1.0)
    assert float(torch.linalg.eigvalsh(back.matrix(2))[0]) > 0


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("layer.1.song", {"kind": "statistics", "samples": 1, "unit": "tokens"}),
        ("triangle", {"kind": "statistics", "samples": 1, "unit": "tokens"}),
        ("layer.1.triangle", {"kind": "statistics", "unit": "tokens"}),
        ("layer.1.triangle", {"kind": "statistics", "samples": "many", "unit": "tokens"}),
        ("layer.1.triangle", {"kind": "statistics", "samples": None, "unit": "tokens"}),
        ("layer.1.triangle", {"kind": "delta", "samples": 1, "unit": "tokens"}),
    ],
)
def test_what_is_no_second_moment(name, record):
    with pytest.raises(StatisticsDamageError, match="not a second moment: "):
        SecondMoment.from_bytes(pack({name: torch.ones(3)}, record))


def test_a_factor_of_no_square_is_damage():
    record = {"kind": "statistics", "samples": 1, "unit": "tokens"}
    with pytest.raises(StatisticsDamageError):
        SecondMoment.from_bytes(pack({"layer.1.factor": torch.ones(2, 2).half()}, record))
