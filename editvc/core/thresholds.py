"""From which figure on a tree's health is worth a warning, and from which it is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields

from editvc.errors import EditvcError


class ThresholdError(EditvcError):
    """A threshold that cannot be meant: not positive, or a warning that lies past its refusal."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits for figures of :class:`editvc.algebra.layer_health.LayerHealth`, the worst layer's.

    Every figure is relative to the base weight. W is the base weight, D the total delta. The
    figures are the papers', the limits are ours: no paper gives any. They stand between figures
    measured on a GPT-2 of 17M parameters with four edited layers: 200 edits by editvc (sound),
    1,000 (strained: perplexity +17%, half of the unedited facts recalled), and 200 by naive
    sequential MEMIT (collapsed). Where edits are small beside the weights, as in large models, all
    of them can be drawn much tighter.

    ============ ========================================= ========= =========== =========
    figure       what it is                                200 edits 1,000 edits collapsed
    ============ ========================================= ========= =========== =========
    norm_growth  L1 norm of W + D over that of W                 2.0         3.5       2.3
    spectral     s_max(D) / s_max(W); PRUNE bounds it            6.6        11.5      43.2
    condition    cond(W + D) / cond(W), PRUNE's measure          2.9         2.3      21.0
    drift        tr(D C D^T) / tr(W C W^T), relative             0.4         1.7       0.4
                 squared change of output on plain text
    correlation  Pearson's, entries of W + D and W;             0.42        0.22      0.15
                 lower is worse (Lin et al.)
    ============ ========================================= ========= =========== =========

    ``leak`` warns where the same model has lost a fifth of the facts that nobody edited: 0.31 at
    100 edits (82% recalled), 0.52 at 300 (71%); docs/adr/0016. ``name_drift`` is for what no edit
    explains, too: 0.3 where a set has lost a third, and a blind sequence half (docs/foresight.md).
    ``capacity`` is the share of the layer's v directions that edits use: near 1, a new edit can
    only be written over older ones. ``text_firing`` and ``name_firing`` are those of
    :class:`editvc.algebra.gate_health.GateHealth`. ``leverage_warn`` and ``residual_warn`` say how
    many times the typical leverage or residual norm a new edit may have before it is reported as a
    possible disabling edit; among 100 real edits the largest were 6.7 and 1.4 times the median.
    ``disabling_warn`` is the chance (:mod:`editvc.core.disabling`) past which an edit is told
    before its commit, and refused where it is strict; the default is the operating point of its
    calibration. ``forecast_warn`` is how many further edits, at the low end of their interval
    (:mod:`editvc.core.forecast`), are too few.
    """

    norm_growth_warn: float = 3.0
    norm_growth_refuse: float = 8.0
    spectral_warn: float = 10.0
    spectral_refuse: float = 20.0
    condition_warn: float = 5.0
    condition_refuse: float = 10.0
    drift_warn: float = 1.0
    drift_refuse: float = 4.0
    name_drift_warn: float = 0.3
    name_drift_refuse: float = 4.0
    leak_warn: float = 0.4
    leak_refuse: float = 2.0
    capacity_warn: float = 0.5
    capacity_refuse: float = 0.9
    correlation_warn: float = 0.3
    correlation_refuse: float = 0.08
    text_firing_warn: float = 0.005
    text_firing_refuse: float = 0.05
    name_firing_warn: float = 0.03
    name_firing_refuse: float = 0.3
    leverage_warn: float = 10.0
    residual_warn: float = 3.0
    disabling_warn: float = 0.17
    forecast_warn: float = 50.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ThresholdError(
                    f"{field.name} must be positive, got {getattr(self, field.name)}",
                    hint="Use a large number to switch a limit off (a small one for correlation).",
                )
        for figure in (
            "norm_growth", "spectral", "condition", "drift", "name_drift", "leak", "capacity",
            "text_firing", "name_firing",
        ):  # fmt: skip
            self._ordered(figure, self._pair(figure))
        warn, refuse = self._pair("correlation")
        self._ordered("correlation", (refuse, warn))

    def _pair(self, figure: str) -> tuple[float, float]:
        return getattr(self, f"{figure}_warn"), getattr(self, f"{figure}_refuse")

    def _ordered(self, figure: str, milder_first: tuple[float, float]) -> None:
        if milder_first[0] > milder_first[1]:
            warn, refuse = self._pair(figure)
            raise ThresholdError(
                f"{figure}_warn = {warn:g} lies past {figure}_refuse = {refuse:g}",
                hint="A warning has to come before the refusal.",
            )
