"""How far a set of edits has moved a layer, in the papers' figures, and whether that is sound.

Notation: W (u, v) the base weight, D the total delta as it is added (restraints included),
``W' = W + D``, C (v, v) the second moment of ordinary keys without lambda, E (v, v) that of the
keys of named things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from editvc.algebra.diagnostics import capacity, share_kept
from editvc.algebra.factored import Factored
from editvc.algebra.restraints import extreme_singular_values
from editvc.algebra.solvers import System
from editvc.core.thresholds import Thresholds
from editvc.errors import EditvcError

WORST = 5
"""How many of the most attenuated edits are named."""

EPSILON = 2.0**-52
"""Smallest singular values count as at least this share of the largest, so that a condition number
is always finite (and has a JSON form)."""


class HealthError(EditvcError):
    """A base weight that no figure can be taken relative to."""


@dataclass(frozen=True, slots=True)
class BaseFigures:
    """What the figures of a layer are relative to; the same for every tree over one base.

    ``l1_norm`` sum of absolute entries, ``frobenius``, ``spectral_norm`` s_max(W),
    ``condition_number`` s_max / s_min, ``output`` = tr(W C W^T), mean squared output on ordinary
    text.
    """

    l1_norm: float
    frobenius: float
    spectral_norm: float
    condition_number: float
    output: float

    @classmethod
    def of(cls, weight: Tensor, moment: Tensor) -> BaseFigures:
        """From W (u, v) and C (v, v). Raises :class:`HealthError` where W has no output."""
        weight, moment = weight.to(torch.float64), moment.to(torch.float64)
        largest, smallest = extreme_singular_values(weight)
        output = float(((weight @ moment) * weight).sum())
        if not (largest > 0 and output > 0):
            raise HealthError(
                "the base weight has no output on the keys of its statistics",
                hint="Is this the right layer, and are the statistics of this base?",
            )
        return cls(
            l1_norm=float(weight.abs().sum()),
            frobenius=float(torch.linalg.vector_norm(weight)),
            spectral_norm=largest,
            condition_number=largest / max(smallest, EPSILON * largest),
            output=output,
        )


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """The figures of one layer. Those with a limit in ``Thresholds`` bear its name.

    ``edits`` live edits, ``rank`` of the delta; ``l1_norm`` sum of absolute entries of W' (D4S) and
    ``norm_growth`` its ratio to the base's; ``distance`` = ||D||_F / ||W||_F, the normalised L2
    distance of Gupta et al. 2024; ``spectral_norm`` s_max(D) and ``spectral`` its ratio to
    s_max(W) (PRUNE); ``largest`` and ``smallest`` singular value of W' (PRUNE),
    ``condition_number`` of W' and ``condition`` its ratio to that of W (PRUNE);
    ``correlation`` Pearson's, of the entries of W' and W (Lin et al. 2024); ``drift`` =
    tr(D C D^T) / tr(W C W^T), and ``name_drift`` = tr(D E D^T) / tr(W C W^T) (0 without statistics
    of names); ``leak`` = sqrt(tr(D E D^T)) over the mean of |D k| at the keys of
    the edits: how much of what an edit gets reaches any other named thing (0 where no edit is
    located, or no statistics of names are there); ``directions`` = tr G(I + G)^-1 and ``capacity``
    its share of v; ``kept`` the mean share that an edit keeps of what it would get alone, ``worst``
    (index, share kept) of the most attenuated edits, the worst first, indices in the order of the
    columns.
    """

    layer: int
    edits: int
    rank: int
    l1_norm: float
    norm_growth: float
    distance: float
    spectral_norm: float
    spectral: float
    largest: float
    smallest: float
    condition_number: float
    condition: float
    correlation: float
    drift: float
    name_drift: float
    leak: float
    directions: float
    capacity: float
    kept: float
    worst: tuple[tuple[int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure by name."""
        return asdict(self) | {"worst": [list(pair) for pair in self.worst]}


def layer_health(
    layer: int,
    weight: Tensor,
    delta: Factored,
    moment: Tensor,
    systems: Sequence[System],
    *,
    base: BaseFigures | None = None,
    names: Tensor | None = None,
) -> LayerHealth:
    """The figures of one layer: W (u, v), D, C (v, v) without lambda, and the live edits.

    ``names`` is E (v, v), if there is one. ``systems`` are the edits of each recipe (mostly one);
    ``worst`` numbers the edits along all of them. ``base`` saves work where many trees of one base
    are judged. One dense u x v float64 weight is held beside W.
    """
    base = base or BaseFigures.of(weight, moment)
    weight = weight.to(torch.float64)
    edited = weight + delta.dense()
    largest, smallest = extreme_singular_values(edited)
    condition = largest / max(smallest, EPSILON * largest) if largest > 0 else 1.0
    spectral_norm = delta.spectral()
    l1_norm = float(edited.abs().sum())
    directions = sum(capacity(system) for system in systems)
    by_system = [share_kept(delta, system) for system in systems]
    shares = torch.cat(by_system) if by_system else torch.zeros(0, dtype=torch.float64)  # (n,)
    return LayerHealth(
        layer=layer,
        edits=len(shares),
        rank=delta.rank,
        l1_norm=l1_norm,
        norm_growth=l1_norm / base.l1_norm,
        distance=delta.frobenius() / base.frobenius,
        spectral_norm=spectral_norm,
        spectral=spectral_norm / base.spectral_norm,
        largest=largest,
        smallest=smallest,
        condition_number=condition,
        condition=condition / base.condition_number,
        correlation=pearson(edited, weight),
        drift=_moved(delta, moment, base),
        name_drift=0.0 if names is None else _moved(delta, names, base),
        leak=0.0 if names is None else _leak(delta, names, systems),
        directions=float(directions),
        capacity=float(directions) / delta.shape[1],
        kept=float(shares.mean()) if len(shares) else 1.0,
        worst=_worst(shares),
    )


def pearson(one: Tensor, other: Tensor) -> float:
    """Pearson correlation of the entries of two matrices of one shape; 0 where one is constant."""
    a, b = one - one.mean(), other - other.mean()
    lengths = float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float((a * b).sum()) / lengths if lengths > 0 else 0.0


def _moved(delta: Factored, moment: Tensor, base: BaseFigures) -> float:
    """tr(D M D^T) / tr(W C W^T): how far outputs move on keys of second moment M (v, v)."""
    return delta.quadratic(moment.to(torch.float64)) / base.output


def _leak(delta: Factored, names: Tensor, systems: Sequence[System]) -> float:
    """``sqrt(tr(D E D^T))`` over the mean of |D k| at the edits' own keys; 0 without any."""
    given = [torch.linalg.vector_norm(delta @ one.edits.keys, dim=0) for one in systems]
    mean = float(torch.cat(given).mean()) if given else 0.0
    leaked = math.sqrt(max(0.0, delta.quadratic(names.to(torch.float64))))
    return leaked / mean if mean > 0 else 0.0


def _worst(shares: Tensor) -> tuple[tuple[int, float], ...]:
    order = torch.argsort(shares, stable=True)[:WORST]
    return tuple((int(index), float(shares[index])) for index in order)


FIGURES: Mapping[str, str] = {
    "norm_growth": "the L1 norm of the edited weight is {value:.3g} times the base's",
    "spectral": "the largest singular value of the change is {value:.3g} times the base weight's",
    "condition": "the condition number is {value:.3g} times the base's",
    "drift": "the output on ordinary text moves by {value:.3g} of its mean square",
    "name_drift": "the output on names moves by {value:.3g} of its mean square on text",
    "leak": "{value:.0%} of what an edit gets reaches any other named thing",
    "capacity": "the edits use {value:.1%} of the layer's directions",
    "correlation": "the edited weight correlates with the base's by {value:.3g}",
}
"""The figures that a verdict is made of, in words."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is typical of an edit in a layer: its leverage, and the norm of its residual."""

    leverage: float
    residual: float

    @classmethod
    def of(cls, leverages: Tensor, residual_norms: Tensor) -> Reference | None:
        """The medians over edits (n,), (n,); ``None`` without any."""
        if not len(leverages):
            return None
        return cls(float(leverages.median()), float(residual_norms.median()))


@dataclass(frozen=True, slots=True)
class Outlier:
    """A new edit that may disable the model: ``figure`` is "leverage" or "residual"."""

    index: int
    figure: Literal["leverage", "residual"]
    value: float
    typical: float

    @property
    def ratio(self) -> float:
        """How many times the typical value."""
        return self.value / self.typical if self.typical > 0 else math.inf

    @property
    def reason(self) -> str:
        """In words, without the name of the edit."""
        what = "leverage of its key" if self.figure == "leverage" else "norm of its residual"
        return f"the {what} is {self.ratio:.3g} times what is typical; it may disable the model"


def outliers(
    leverages: Tensor, residual_norms: Tensor, reference: Reference, thresholds: Thresholds
) -> tuple[Outlier, ...]:
    """New edits (m,), (m,) whose leverage or residual is far from the reference, by index.

    Far is more than ``leverage_warn`` or ``residual_warn`` times the typical value: the mark of the
    disabling edits of Gupta et al., seen before anything is written.
    """
    outlying: list[Outlier] = []
    for index in range(len(leverages)):
        candidates = (
            Outlier(index, "leverage", float(leverages[index]), reference.leverage),
            Outlier(index, "residual", float(residual_norms[index]), reference.residual),
        )
        limits = (thresholds.leverage_warn, thresholds.residual_warn)
        outlying += [
            candidate
            for candidate, limit in zip(candidates, limits, strict=True)
            if candidate.ratio > limit
        ]
    return tuple(outlying)
