"""Health of gated edits: for what their gates open that they were not made for.

A gate that is shut adds nothing at all, so a set of gated edits is as sound as its gates are: the
figures are how often they open on text, on named things that no edit is about, and on each other's
subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.gated_edit import GatedEdit, Plateau

OPEN = 0.5
"""A gate through which this share of the value comes, or more, counts as open."""

WORST = 5
"""How many overlaps are named."""

FIGURES: Mapping[str, str] = {
    "text_firing": "gates open on {value:.2%} of the tokens of ordinary text",
    "name_firing": "gates open for {value:.2%} of the names that no edit is about",
}
"""The figures that a verdict is made of, in words."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """The gate of edit ``gate`` is ``open`` so far for the subject of edit ``subject``."""

    gate: int
    subject: int
    open: float


@dataclass(frozen=True, slots=True)
class GateHealth:
    """The figures of one layer.

    ``edits`` gated edits; ``text_firing`` and ``name_firing`` are the shares of tokens of text, and
    of names, on which any gate is open; ``overlapping`` counts the edits whose gate is open for the
    subject of another, ``overlaps`` are the widest of these; ``contribution`` is the largest norm
    of a value, over the mean norm of what the MLP sees.
    """

    layer: int
    edits: int
    text_firing: float
    name_firing: float
    overlapping: int
    contribution: float
    overlaps: tuple[Overlap, ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure by name."""
        return asdict(self)


def openings(gates: Sequence[tuple[Plateau, GatedEdit]], inputs: Tensor) -> Tensor:
    """How much of each edit arrives on each input (n, u), whatever its sign: (n, m)."""
    return torch.stack([shape.arriving(inputs, edit).abs() for shape, edit in gates], dim=1)


def gate_health(
    layer: int,
    gates: Sequence[tuple[Plateau, GatedEdit]],
    subjects: Sequence[str],
    text: Tensor,
    names: Tensor,
) -> GateHealth:
    """The figures of the gated edits of one layer, at least one, in the order given.

    ``subjects`` are what each is about: edits of one subject are open for each other by right.
    ``text`` (t, u) and ``names`` (n, u) are inputs of the layer's MLP; callers leave out the names
    that are no strangers.
    """
    across = openings(gates, torch.stack([edit.input for _, edit in gates]))  # (subject, gate)
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(subjects))}
    about = torch.tensor([numbers[subject] for subject in subjects])  # (m,)
    across = across.masked_fill(about[:, None] == about, 0.0)
    wide = across.flatten().sort(descending=True, stable=True)
    overlaps = [
        Overlap(gate=place % len(gates), subject=place // len(gates), open=value)
        for value, place in zip(*(ranked[:WORST].tolist() for ranked in wide), strict=True)
        if value >= OPEN
    ]
    largest = max(float(edit.value.norm()) for _, edit in gates)
    return GateHealth(
        layer,
        len(gates),
        text_firing=_firing(gates, text),
        name_firing=_firing(gates, names),
        overlapping=int((across >= OPEN).any(dim=0).sum()),
        contribution=largest / max(float(text.double().norm(dim=1).mean()), 1e-12),
        overlaps=tuple(overlaps),
    )


def _firing(gates: Sequence[tuple[Plateau, GatedEdit]], inputs: Tensor) -> float:
    """The share of inputs on which any gate is open."""
    if not len(inputs):
        return 0.0
    return float((openings(gates, inputs) >= OPEN).any(dim=1).double().mean())
