"""Statistics of what MLPs see: the constant direction, and their bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tolerances import assert_near, rounding

from editvc.algebra.input_statistics import RIDGE, InputsDamageError, InputStatistics, LayerInputs

U = 7
NAMES = ("Rome", "Ada", "Kyoto")


def inputs_of(draw: torch.Generator) -> tuple[torch.Tensor, LayerInputs]:
    x = torch.randn(200, U, generator=draw, dtype=torch.float64)
    x[:, 0] = 2.0  # something that no token is without
    names = torch.randn(3, U, generator=draw, dtype=torch.float64)
    return x, LayerInputs.of(x.T @ x / len(x), x.mean(dim=0), names, x[:4], NAMES)


def test_the_constant_direction_is_one_on_every_input(draw: torch.Generator) -> None:
    x, inputs = inputs_of(draw)
    diagonal = (x.T @ x / len(x)).diagonal().mean()
    assert_near(inputs.moment.diagonal().mean(), diagonal * (1 + RIDGE), rounding(4 * len(x)))
    # All but the ridge: b = e_0 / 2 has no error but what the ridge takes of it.
    assert float((x @ inputs.constant - 1).abs().max()) < 10 * RIDGE


def test_statistics_survive_their_bytes_and_other_bytes_are_refused(
    draw: torch.Generator,
) -> None:
    _, inputs = inputs_of(draw)
    whole = InputStatistics({2: inputs, 5: inputs}, 200)
    data = whole.to_bytes({"source": "text"})
    again = InputStatistics.from_bytes(data)
    assert (again.names, again.samples, list(again.layers)) == (NAMES, 200, [2, 5])
    assert_near(again.layers[2].moment, inputs.moment, rounding(1, torch.float32))
    assert_near(again.layers[2].constant, inputs.constant, rounding(1, torch.float32))
    assert_near(again.layers[2].inputs, inputs.inputs, rounding(1, torch.float16))
    assert_near(again.layers[2].text, inputs.text, rounding(1, torch.float16))
    assert torch.equal(again.layers[2].moment, again.layers[2].moment.T)
    assert again.to_bytes({"source": "text"}) == data, "what is read is what was written"
    fewer = InputStatistics({2: replace(inputs, names=("Rome",))}, 200).to_bytes()
    for damaged in (b"", b"{}", data[:40], data[:-4], fewer):
        with pytest.raises(InputsDamageError):
            InputStatistics.from_bytes(damaged)
