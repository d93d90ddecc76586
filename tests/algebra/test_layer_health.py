"""Figures of health against plain formulas on dense matrices, and the verdicts on them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from algebra_dense import dense_solution, random_edits, random_moment
from tolerances import assert_near, condition, rounding, solving

from editvc.algebra.factored import Factored
from editvc.algebra.layer_health import (
    FIGURES,
    BaseFigures,
    HealthError,
    LayerHealth,
    Reference,
    layer_health,
    outliers,
)
from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import Edits, System, solve
from editvc.algebra.verdict import judge
from editvc.core.thresholds import Thresholds

U, V, N = 6, 14, 8
NAMES = random_moment(V, torch.Generator().manual_seed(6))
"""The second moment of the keys of named things."""


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def weight(draw: torch.Generator) -> torch.Tensor:
    return torch.randn(U, V, generator=draw, dtype=torch.float64)


@pytest.fixture
def moment(draw: torch.Generator) -> torch.Tensor:
    return random_moment(V, draw)


@pytest.fixture
def edits(draw: torch.Generator) -> Edits:
    return random_edits(U, V, N, draw)


@pytest.fixture
def whitening(moment: torch.Tensor) -> Whitening:
    return Whitening.of(20.0 * moment)


@pytest.fixture
def found(
    weight: torch.Tensor, moment: torch.Tensor, edits: Edits, whitening: Whitening
) -> LayerHealth:
    delta = solve(edits.keys, edits.residuals, whitening)
    systems = [System.of(edits, whitening)]
    return layer_health(3, weight, delta, moment, systems, names=NAMES)


def test_figures_are_the_plain_formulas(
    found: LayerHealth, weight: torch.Tensor, moment: torch.Tensor, edits: Edits
) -> None:
    w, c, k, r = (t.numpy() for t in (weight, moment, edits.keys, edits.residuals))
    d = dense_solution(edits, 20.0 * moment).numpy()
    gram = k.T @ np.linalg.inv(20.0 * c) @ k
    directions = np.trace(gram @ np.linalg.inv(np.eye(N) + gram))
    given = d @ k
    alone = gram.diagonal() / (1 + gram.diagonal())
    shares = (given * r).sum(axis=0) / (r * r).sum(axis=0) / alone
    expected = {
        "layer": 3,
        "edits": N,
        "rank": U,
        "l1_norm": np.abs(w + d).sum(),
        "norm_growth": np.abs(w + d).sum() / np.abs(w).sum(),
        "distance": np.linalg.norm(d) / np.linalg.norm(w),
        "spectral_norm": np.linalg.norm(d, 2),
        "spectral": np.linalg.norm(d, 2) / np.linalg.norm(w, 2),
        "largest": np.linalg.svd(w + d, compute_uv=False)[0],
        "smallest": np.linalg.svd(w + d, compute_uv=False)[-1],
        "condition_number": np.linalg.cond(w + d),
        "condition": np.linalg.cond(w + d) / np.linalg.cond(w),
        "correlation": np.corrcoef((w + d).ravel(), w.ravel())[0, 1],
        "drift": np.trace(d @ c @ d.T) / np.trace(w @ c @ w.T),
        "name_drift": np.trace(d @ NAMES.numpy() @ d.T) / np.trace(w @ c @ w.T),
        "leak": np.sqrt(np.trace(d @ NAMES.numpy() @ d.T)) / np.linalg.norm(given, axis=0).mean(),
        "directions": directions,
        "capacity": directions / V,
        "kept": shares.mean(),
    }
    record = found.to_json()
    worst = record.pop("worst")
    # The delta is solved for, and the smallest singular value is the root of an eigenvalue of
    # W W^T, whose condition is that of W squared. Figures are sums over all entries at most.
    bound = solving(edits, 20.0 * moment)
    bound += rounding(U * V) * condition(weight + torch.from_numpy(d)) ** 2
    assert record.keys() == expected.keys()
    for name, one in expected.items():
        assert_near(record[name], one, bound)
    assert [index for index, _ in worst] == np.argsort(shares)[:5].tolist()
    assert_near([share for _, share in worst], np.sort(shares)[:5], bound)


def test_figures_survive_json(found: LayerHealth) -> None:
    record = found.to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_base_figures_can_be_reused(
    found: LayerHealth,
    weight: torch.Tensor,
    moment: torch.Tensor,
    edits: Edits,
    whitening: Whitening,
) -> None:
    delta = solve(edits.keys, edits.residuals, whitening)
    base, systems = BaseFigures.of(weight, moment), [System.of(edits, whitening)]
    assert layer_health(3, weight, delta, moment, systems, base=base, names=NAMES) == found
    without = layer_health(3, weight, delta, moment, systems)
    assert without.leak == without.name_drift == 0.0, "no names to leak to"
    opaque = layer_health(3, weight, delta, moment, [], names=NAMES)
    assert opaque.leak == 0.0 < opaque.name_drift, "what no edit explains reaches names, too"


def test_edits_of_several_recipes_count_together(
    weight: torch.Tensor, moment: torch.Tensor, edits: Edits, whitening: Whitening
) -> None:
    other = Whitening.of(5.0 * moment)
    delta = solve(edits.keys, edits.residuals, whitening) + solve(
        edits.keys, edits.residuals, other
    )
    both = layer_health(
        0, weight, delta, moment, [System.of(edits, whitening), System.of(edits, other)]
    )
    one = layer_health(0, weight, delta, moment, [System.of(edits, whitening)])
    assert both.edits == 2 * N
    assert both.directions > one.directions
    # The same edit twice gets what both deltas give; alone it would get more of the weaker moment.
    gets = (delta.dense() @ edits.keys * edits.residuals).sum(0) / edits.residuals.square().sum(0)
    shares = []
    for factor in (20.0, 5.0):
        leverage = (edits.keys * torch.linalg.solve(factor * moment, edits.keys)).sum(0)
        shares.append(gets * (1 + leverage) / leverage)
    together = torch.cat(shares)
    assert_near(both.kept, together.mean(), 2 * solving(edits, 5.0 * moment))
    assert [index for index, _ in both.worst] == torch.argsort(together)[:5].tolist()


def test_an_untouched_layer_is_sound(weight: torch.Tensor, moment: torch.Tensor) -> None:
    found = layer_health(0, weight, Factored.zero(U, V), moment, [])
    assert (found.norm_growth, found.condition, found.kept) == (1.0, 1.0, 1.0)
    assert (found.spectral, found.drift, found.capacity, found.edits) == (0.0, 0.0, 0.0, 0)
    assert_near(found.correlation, 1.0, rounding(U * V))
    assert judge([found], FIGURES, Thresholds()).level == "ok"


def test_half_precision_weights_are_measured_in_full(
    weight: torch.Tensor, moment: torch.Tensor
) -> None:
    half = weight.to(torch.float16)
    delta = Factored.zero(U, V)
    doubled = half.double(), delta, moment.float().double()
    assert layer_health(0, half, delta, moment.float(), []) == layer_health(0, *doubled, [])


def test_a_singular_weight_has_a_finite_condition(moment: torch.Tensor) -> None:
    weight = torch.ones(U, V, dtype=torch.float64)
    assert BaseFigures.of(weight, moment).condition_number <= 2.0**52
    found = layer_health(0, weight, Factored.of_dense(-weight), moment, [])
    assert (found.condition_number, found.correlation) == (1.0, 0.0)


def test_a_weight_that_does_nothing_is_refused(moment: torch.Tensor) -> None:
    with pytest.raises(HealthError, match="no output"):
        BaseFigures.of(torch.zeros(U, V), moment)


LIMITS = Thresholds(
    norm_growth_warn=1.1,
    norm_growth_refuse=1.5,
    spectral_warn=1.0,
    spectral_refuse=3.0,
    correlation_warn=0.9,
    correlation_refuse=0.7,
)
SOUND = LayerHealth(
    layer=0, edits=1, rank=1, l1_norm=1.0, norm_growth=1.0, distance=0.0, spectral_norm=0.1,
    spectral=0.1, largest=2.0, smallest=1.0, condition_number=2.0, condition=1.0, correlation=1.0,
    drift=0.0, name_drift=0.0, leak=0.0, directions=0.0, capacity=0.0, kept=1.0, worst=(),
)  # fmt: skip


def test_verdict_is_ok_within_the_limits() -> None:
    at_the_limits = replace(SOUND, norm_growth=1.1, spectral=1.0, correlation=0.9)
    for layers in ([], [SOUND], [SOUND, at_the_limits]):
        judged = judge(layers, FIGURES, LIMITS)
        assert (judged.level, judged.reasons) == ("ok", ())


def test_verdict_names_layer_figure_and_threshold() -> None:
    judged = judge([SOUND, replace(SOUND, layer=5, spectral=4.2)], FIGURES, LIMITS)
    assert judged.level == "refuse"
    assert judged.reasons == (
        "layer 5: the largest singular value of the change is 4.2 times the base weight's "
        "(refused above spectral_refuse = 3)",
    )


def test_verdict_takes_the_worst_layer_and_puts_refusals_first() -> None:
    layers = [
        replace(SOUND, layer=1, norm_growth=1.2, correlation=0.8),
        replace(SOUND, layer=2, norm_growth=1.3, correlation=0.6),
    ]
    judged = judge(layers, FIGURES, LIMITS)
    assert judged.level == "refuse"
    assert [reason.split(":")[0] for reason in judged.reasons] == ["layer 2", "layer 2"]
    assert "below correlation_refuse = 0.7" in judged.reasons[0]
    assert "a warning above norm_growth_warn = 1.1" in judged.reasons[1]
    assert judge(layers[:1], FIGURES, LIMITS).level == "warn"


@pytest.mark.parametrize("figure", ["spectral", "correlation", "drift"])
def test_a_figure_that_is_no_number_is_refused(figure: str) -> None:
    layers = [SOUND, replace(SOUND, layer=1, **{figure: float("nan")}), SOUND]
    judged = judge(layers, FIGURES, LIMITS)
    assert judged.level == "refuse"
    assert judged.reasons[0].startswith("layer 1")


def test_outliers_are_found_by_either_mark() -> None:
    leverages = torch.tensor([1.0, 2.0, 3.0])
    norms = torch.tensor([4.0, 4.0, 5.0])
    reference = Reference.of(leverages, norms)
    assert reference == Reference(2.0, 4.0)
    limits = Thresholds(leverage_warn=10.0, residual_warn=4.0)
    new = outliers(
        torch.tensor([20.0, 20.1, 1.0]), torch.tensor([1.0, 17.0, 16.0]), reference, limits
    )
    assert [(one.index, one.figure) for one in new] == [(1, "leverage"), (1, "residual")]
    assert "norm of its residual is 4.25 times" in new[1].reason
    assert "leverage of its key is 10.1 times" in new[0].reason


def test_without_edits_there_is_no_reference() -> None:
    assert Reference.of(torch.zeros(0), torch.zeros(0)) is None
