"""Gated edits: their bytes, and the plateau that two neurons make of a score."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tolerances import assert_near, rounding
from torch.nn.functional import gelu, relu, silu

from editvc.algebra.gated_edit import PARTS, FirstGate, GatedDamageError, GatedEdit, Plateau
from editvc.algebra.neurons import Neurons

U, V = 6, 9
KINDS = [(False, True), (False, False), (True, False), (True, True)]
"""Whether an MLP is gated, and whether its activation's input has a bias."""


def edit_of(
    draw: torch.Generator, layer: int = 3, *, gated: bool = False, first: bool = False
) -> GatedEdit:
    w, value, seen, telling = (torch.randn(U, generator=draw) for _ in range(4))
    key = torch.randn(V, generator=draw)
    begins = FirstGate(
        torch.randn(U, generator=draw), torch.tensor([0.7]), torch.randn(U, generator=draw)
    )
    return GatedEdit(
        layer, w / w.norm(), torch.tensor([0.6]), value, seen, key,
        telling if gated else None, {"loss": 0.5}, begins if first else None,
    )  # fmt: skip


def scored(
    edit: GatedEdit, constant: torch.Tensor, score: float, told: float = 1.0
) -> torch.Tensor:
    """An input with these scores, whose product with the constant direction is 1."""
    rows = [edit.filter.double(), constant]
    wanted = [score, 1.0]
    if edit.telling is not None:
        rows.append(edit.telling.double())
        wanted.append(told)
    system = torch.tensor(wanted, dtype=torch.float64)[:, None]
    return torch.linalg.lstsq(torch.stack(rows), system).solution[:, 0]


@pytest.fixture
def constant(draw: torch.Generator) -> torch.Tensor:
    return torch.randn(U, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("gated", [False, True])
def test_edits_survive_their_bytes_and_other_bytes_are_refused(
    draw: torch.Generator, gated: bool
) -> None:
    edit = edit_of(draw, gated=gated)
    data = edit.to_bytes({"request": "abc"})
    again = GatedEdit.from_bytes(data)
    assert (again.layer, again.figures) == (3, {"loss": 0.5})
    for part in PARTS:
        assert torch.equal(getattr(again, part), getattr(edit, part))
    assert (again.telling is None) is (not gated)
    assert again.to_bytes({"request": "abc"}) == data
    two = replace(edit, threshold=torch.zeros(2)).to_bytes()
    short = replace(edit, value=torch.zeros(U - 1)).to_bytes()
    for damaged in (b"", b"{}", data[:40], data[:-4], two, short):
        with pytest.raises(GatedDamageError):
            GatedEdit.from_bytes(damaged)


@pytest.mark.parametrize("gated", [False, True])
def test_gates_for_the_first_token_survive_their_bytes(draw: torch.Generator, gated: bool) -> None:
    edit = edit_of(draw, gated=gated, first=True)
    again = GatedEdit.from_bytes(edit.to_bytes())
    assert edit.first is not None and again.first is not None
    for part in ("filter", "threshold", "value"):
        assert torch.equal(getattr(again.first, part), getattr(edit.first, part))
    assert again.to_bytes() == edit.to_bytes()
    for damaged in ({"value": torch.zeros(U - 1)}, {"threshold": torch.zeros(2)}):
        with pytest.raises(GatedDamageError):
            GatedEdit.from_bytes(replace(edit, first=replace(edit.first, **damaged)).to_bytes())


@pytest.mark.parametrize(("gated", "biased"), KINDS)
def test_a_gate_for_the_first_token_is_two_more_neurons(
    gated, biased, draw: torch.Generator, constant: torch.Tensor
) -> None:
    edit, shape = edit_of(draw, gated=gated, first=True), Plateau(slope=60.0, rise=0.1)
    assert edit.first is not None
    neurons = shape.neurons(edit, constant, biased=biased)
    two = shape.neurons(replace(edit, first=None), constant, biased=biased)
    assert (len(neurons), len(two)) == (4, 2)
    for part in ("inside", "bias", "beside"):
        held = getattr(two, part)
        assert held is None or torch.equal(getattr(neurons, part)[:2], held)
    rows = torch.stack([edit.first.filter.double(), constant])
    x = torch.linalg.lstsq(rows, torch.ones(2, 1, dtype=torch.float64)).solution[:, 0]
    more = neurons.contribution(x, relu) - two.contribution(x, relu)
    assert_near(more, edit.first.value.double(), 1e-9)
    below = torch.linalg.lstsq(rows, torch.tensor([[0.6], [1.0]], dtype=torch.float64)).solution[
        :, 0
    ]
    assert_near(neurons.contribution(below, relu), two.contribution(below, relu), 1e-9)


@pytest.mark.parametrize(("gated", "biased"), KINDS)
@pytest.mark.parametrize("activation", [relu, silu, gelu])
def test_two_neurons_are_nothing_below_and_the_value_above(
    gated, biased, activation, draw: torch.Generator, constant: torch.Tensor
) -> None:
    edit, shape = edit_of(draw, gated=gated), Plateau(slope=60.0, rise=0.1)
    neurons = shape.neurons(edit, constant, biased=biased)
    # Where |x| is 9 or more, ReLU is all but reached: x sigma(-x) for SiLU, less for GELU.
    tail = 2 * 9 * math.exp(-9) / (shape.slope * shape.rise)
    away = 9 / shape.slope + shape.rise / 2
    for score, expected in ((0.6 - away, 0.0), (-1.0, 0.0), (0.6 + away, 1.0), (1.4, 1.0)):
        added = neurons.contribution(scored(edit, constant, score), activation)
        assert (added - expected * edit.value.double()).norm() <= (
            0 if activation is relu else tail
        ) * edit.value.norm() + rounding(4 * U, scale=60 * float(edit.value.norm()))


@pytest.mark.parametrize(("gated", "biased"), KINDS)
def test_half_way_up_half_of_the_value_is_there(
    gated, biased, draw: torch.Generator, constant: torch.Tensor
) -> None:
    edit = edit_of(draw, gated=gated)
    neurons = Plateau(60.0, 0.1).neurons(edit, constant, biased=biased)
    at = float(edit.threshold[0])  # 0.6 in float32
    half = neurons.contribution(scored(edit, constant, at), relu)
    assert_near(half, edit.value.double() / 2, rounding(4 * U) * 60)


@pytest.mark.parametrize(("gated", "biased"), KINDS)
def test_neurons_side_by_side_give_the_sum_of_what_each_gives(
    gated, biased, draw: torch.Generator, constant: torch.Tensor
) -> None:
    edits = [edit_of(draw, gated=gated) for _ in range(3)]
    parts = [Plateau(60.0, 0.1).neurons(e, constant, biased=biased) for e in edits]
    together = Neurons.concatenated(parts)
    assert len(together) == 6
    x = torch.randn(4, U, generator=draw, dtype=torch.float64)
    each = [part.contribution(x, silu) for part in parts]
    scale = sum(float(part.down.norm() * part.inside.norm() * x.norm()) for part in parts)
    beside = 1.0 if together.beside is None else float((x @ together.beside.T).abs().max())
    assert_near(together.contribution(x, silu), sum(each), rounding(6 + 2 * U), scale * beside)


def test_a_telling_filter_multiplies_what_comes_through(
    draw: torch.Generator, constant: torch.Tensor
) -> None:
    edit, shape = edit_of(draw, gated=True), Plateau(60.0, 0.1)
    neurons = shape.neurons(edit, constant, biased=False)
    for told in (1.0, 0.25, 0.0):
        x = scored(edit, constant, 1.0, told)
        bound = rounding(4 * U, scale=60 * float(edit.value.norm()))
        difference = neurons.contribution(x, relu) - told * edit.value.double()
        assert difference.norm() <= bound
        (share,) = shape.arriving(x[None], edit)
        assert abs(float(share) - told) <= rounding(4 * U)


def test_rounded_neurons_are_what_a_file_of_that_type_holds(
    draw: torch.Generator, constant: torch.Tensor
) -> None:
    neurons = Plateau(60.0, 0.1).neurons(edit_of(draw, gated=True), constant, biased=False)
    coarse = neurons.rounded(torch.bfloat16)
    assert coarse.inside.dtype == torch.float64
    assert torch.equal(coarse.inside, neurons.inside.bfloat16().double())
    assert torch.equal(coarse.rounded(torch.bfloat16).down, coarse.down)
    assert not torch.equal(coarse.down, neurons.down)
