"""Figures of a set of gates, against counting by hand."""

from __future__ import annotations

import torch

from editvc.algebra.gate_health import Overlap, gate_health, openings
from editvc.algebra.gated_edit import GatedEdit, Plateau

SHAPE = Plateau(60.0, 0.1)


def edit(filter: list[float], seen: list[float], value: float = 1.0) -> GatedEdit:
    w, x = torch.tensor(filter), torch.tensor(seen)
    return GatedEdit(0, w, torch.tensor([0.6]), value * torch.ones(2), x, torch.zeros(3), None, {})


def test_openings_are_plateaus_of_the_scores() -> None:
    gates = [(SHAPE, edit([1, 0], [1, 0])), (SHAPE, edit([0, 1], [0, 1]))]
    inputs = torch.tensor([[0.5, 0.6], [0.7, 9.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    assert torch.allclose(openings(gates, inputs).float(), expected, atol=1e-5)  # 0.6 in float32


def test_what_fires_is_counted_and_overlaps_are_named() -> None:
    gates = [
        (SHAPE, edit([1, 0], [1, 0], value=2.0)),
        (SHAPE, edit([0, 1], [0.9, 1])),  # the first gate is open for its subject, too
        (SHAPE, edit([0, 1], [0.8, 1])),  # another fact about that subject
    ]
    text = torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.3, 0.4], [3.0, 4.0]])
    names = torch.tensor([[0.9, 0.0], [0.1, 0.2]])
    figures = gate_health(4, gates, ["rome", "oslo", "oslo"], text, names)
    assert (figures.layer, figures.edits) == (4, 3)
    assert (figures.text_firing, figures.name_firing) == (0.25, 0.5)
    assert figures.overlapping == 1
    assert figures.overlaps == (Overlap(0, 1, 1.0), Overlap(0, 2, 1.0))
    mean = (0.0 + 0.1 + 0.5 + 5.0) / 4
    assert abs(figures.contribution - 2 * 2**0.5 / mean) < 1e-5
