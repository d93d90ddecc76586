"""``tune``: try settings of the recipe on a few facts, and say which scores best.

A grid over windows of layers, over lambda (``mom2_update_weight``) and over the limit of a target
(``clamp_norm_factor``). A causal trace says around which layers to look. Targets depend on the last
layer and on the limit only, so each is searched for once; lambda changes what follows from them.
Nothing is committed: the facts are edited together into the loaded model, scored, and taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.algebra.delta import Delta
from editvc.algebra.preconditioners import Preconditioner, Whitening
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.locate import locate
from editvc.editing.target_search import Target, find_targets
from editvc.evaluation.causal_tracing import LAST_SUBJECT, averaged, causal_trace, subject_deviation
from editvc.evaluation.scores import Scores, locality_answers, score
from editvc.materialise.solutions import stack
from editvc.models.language_model import LanguageModel
from editvc.models.weights import edited
from editvc.porcelain.coverage import Window, cover
from editvc.porcelain.trace import Corruption, NothingKnown, known
from editvc.session.fact_input import Facts, sourced
from editvc.session.fact_lengths import require_room
from editvc.session.probe_facts import probing_facts
from editvc.session.session import Session
from editvc.session.take_statistics import with_statistics


@dataclass(frozen=True, slots=True)
class Grid:
    """How many facts and windows of layers to try (``None``: all), and factors on two numbers."""

    facts: int
    windows: int | None
    weights: tuple[float, ...]
    clamps: tuple[float, ...]


QUICK = Grid(facts=10, windows=4, weights=(1.0, 0.25, 4.0), clamps=(1.0, 0.7, 1.4))
FULL = Grid(
    facts=50,
    windows=None,
    weights=(1.0, 1 / 16, 0.25, 4.0, 16.0),
    clamps=(1.0, 0.5, 0.7, 1.4, 2.0),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the grid."""

    layers: Window
    mom2_update_weight: float
    clamp_norm_factor: float

    def to_json(self) -> dict[str, Any]:
        """By the recipe's names."""
        return {
            "layers": list(self.layers),
            "mom2_update_weight": self.mom2_update_weight,
            "clamp_norm_factor": self.clamp_norm_factor,
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting and its scores on the facts."""

    setting: Setting
    scores: Scores

    @property
    def quality(self) -> tuple[float, float]:
        """What settings are compared by: the harmonic mean of ES, PS and NS, then D4S's mean."""
        present = [x for x in (self.scores.es, self.scores.ps, self.scores.ns) if x is not None]
        harmonic = len(present) / sum(1 / x for x in present) if all(present) else 0.0
        return harmonic, self.scores.avg or 0.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """Every setting tried, the best first; ``current`` is the recipe's own.

    ``peak`` is the layer in which the facts' MLPs have the largest average indirect effect at the
    subject's last token; None where the base knows none of the facts. ``in_recipe`` is what the
    best setting changes in the recipe.
    """

    tried: tuple[Trial, ...]
    current: Setting
    facts: int
    peak: int | None
    in_recipe: Mapping[str, Any]
    remarks: tuple[str, ...]

    @property
    def best(self) -> Trial:
        """The first of :attr:`tried`."""
        return self.tried[0]

    def to_json(self) -> dict[str, Any]:
        """The contract of ``tune --json``."""
        return {
            "facts": self.facts,
            "peak": self.peak,
            "current": self.current.to_json(),
            "best": self.best.setting.to_json(),
            "tried": [one.setting.to_json() | one.scores.to_json() for one in self.tried],
            "remarks": list(self.remarks),
        }


def tune(
    session: Session,
    facts: Facts,
    *,
    quick: bool,
    seed: int,
    texts: Sequence[Path] = (),
    entities: Path | None = None,
    write: bool = False,
) -> Tuning:
    """Try a grid of settings around the recipe in force, on facts drawn by ``seed``.

    The grid is ``QUICK`` or ``FULL``; ``write`` puts the best setting into config.toml.

    ``texts`` and ``entities`` are what statistics are taken from for layers that the recipe's do
    not cover (:func:`editvc.porcelain.coverage.cover`). Equal scores are decided for the setting
    that stands nearer to the recipe. Raises ``NothingToDo`` without a fact to try.
    """
    grid = QUICK if quick else FULL
    recipe, lm = with_statistics(session, session.recipe()), session.base_model()
    records = sourced(facts)
    require_room(session, records, recipe.contexts)
    unique = [one.fact for one in records if one.duplicate_of is None]
    chosen = probing_facts(lm, unique, grid.facts, seed)
    peak = _peak(lm, chosen, seed)
    depth = session.materialiser.base.layers
    windows = windows_around(depth, recipe.layers, peak, grid.windows)
    coverage = cover(session, windows, texts, entities)
    runs = _TrialRuns(session, replace(recipe, **coverage.in_recipe), chosen, grid)
    trials = [one for window in coverage.windows for one in runs.of(window, coverage.windows)]
    trials.sort(key=lambda one: one.quality, reverse=True)  # stable: what was tried first stays so
    changes = _changes(recipe, trials[0].setting)
    missing = "no causal trace: the base says the true object of none of the facts"
    tuning = Tuning(
        tried=tuple(trials),
        current=_setting(recipe),
        facts=len(chosen),
        peak=peak,
        in_recipe={**coverage.in_recipe, **changes} if changes or texts or entities else {},
        remarks=tuple(filter(None, ["" if peak is not None else missing, coverage.remark])),
    )
    if write:
        adopt(session, tuning)
    return tuning


def adopt(session: Session, tuning: Tuning) -> None:
    """Put the best setting into config.toml, with the statistics that cover it."""
    values = {f"recipe.{name}": value for name, value in tuning.in_recipe.items()}
    session.repository.set_configs(values)


def windows_around(depth: int, layers: Window, peak: int | None, count: int | None) -> list[Window]:
    """The recipe's ``layers``, then windows as wide as it, those around ``peak`` first.

    With a ``count`` they are a sixth of the depth apart, else all. The last block is in none of
    them: what is written there at a subject, no later block reads. Without a peak the recipe's own
    layers are looked around.
    """
    width, step = len(layers), 1 if count is None else max(1, depth // 6)
    last = max(0, depth - 1 - width)
    begin = layers[0] if peak is None else peak - (width - 1) // 2
    begin = min(max(0, begin), last)
    starts = sorted(range(begin % step, last + 1, step), key=lambda start: abs(start - begin))
    others = [tuple(range(start, start + width)) for start in starts]
    return [layers, *(one for one in others if one[-1] != layers[-1])][:count]


def _peak(lm: LanguageModel, facts: Sequence[Fact], seed: int) -> int | None:
    try:
        requests, _ = known(lm, facts)
    except NothingKnown:
        return None
    how = Corruption(samples=3, seed=seed)
    deviation = how.noise * subject_deviation(lm, requests)
    traces = [
        causal_trace(
            lm, request, deviation=deviation, kind="mlp", samples=how.samples,
            seed=how.seed,
        )
        for request in requests
    ]  # fmt: skip
    return int(averaged(traces).of(LAST_SUBJECT).argmax())


def _setting(recipe: LocatedRecipe) -> Setting:
    return Setting(recipe.layers, recipe.mom2_update_weight, recipe.clamp_norm_factor)


def _changes(recipe: LocatedRecipe, setting: Setting) -> dict[str, Any]:
    names = ("layers", "mom2_update_weight", "clamp_norm_factor")
    return {
        name: getattr(setting, name)
        for name in names
        if getattr(setting, name) != getattr(recipe, name)
    }


class _TrialRuns:
    """The facts, what is asked of them, and the grid around a recipe."""

    def __init__(
        self, session: Session, recipe: LocatedRecipe, facts: Sequence[Fact], grid: Grid
    ) -> None:
        self.session, self.recipe, self.facts = session, recipe, facts
        self.lm = session.base_model()
        self.requests = [fact.request for fact in facts]
        self.reference = locality_answers(self.lm, facts)
        self.weights = self._axis("mom2_update_weight", grid.weights)
        self.clamps = self._axis("clamp_norm_factor", grid.clamps)
        self.done = 0

    def _axis(self, name: str, factors: Sequence[float]) -> list[float]:
        """Values of a number, to four digits; the recipe's alone where its method has none."""
        value = getattr(self.recipe, name)
        own = name in self.recipe.row.own
        return [value, *(float(f"{value * one:.4g}") for one in factors[1:] if own)]

    def of(self, window: Window, windows: Sequence[Window]) -> list[Trial]:
        """All settings of a window, the recipe's own numbers first."""
        windowed = replace(self.recipe, layers=window)
        by_clamp = {clamp: self._targets(windowed, clamp) for clamp in self.clamps}
        trials = []
        for weight in self.weights:
            weighed = replace(windowed, mom2_update_weight=weight)
            preconditioners = self._preconditioners(weighed)
            for clamp, targets in by_clamp.items():
                used = replace(weighed, clamp_norm_factor=clamp)
                trials.append(Trial(_setting(used), self._score(used, preconditioners, targets)))
                self.done += 1
                if self.session.progress is not None:
                    total = len(windows) * len(self.weights) * len(self.clamps)
                    self.session.progress("settings", self.done, total)
        return trials

    def _targets(self, windowed: LocatedRecipe, clamp: float) -> list[Target] | None:
        if windowed.row.edit_site is None:
            return None
        used = replace(windowed, clamp_norm_factor=clamp)
        shaping = self.session.materialiser.statistics.shaping(used)
        return find_targets(self.lm, self.requests, used, shaping=shaping)

    def _preconditioners(self, recipe: LocatedRecipe) -> dict[int, Preconditioner]:
        """Not by the cache folder where lambda decides: it would fill with factors of one use."""
        maker = self.session.materialiser
        if recipe.row.preconditioner != "covariance":
            return maker.preconditioners.of(recipe)
        weighted = maker.statistics.weighted_moment
        return {
            layer: Whitening.of(weighted(recipe, layer), name=f"layer {layer}")
            for layer in recipe.layers
        }

    def _score(
        self,
        recipe: LocatedRecipe,
        preconditioners: Mapping[int, Preconditioner],
        targets: list[Target] | None,
    ) -> Scores:
        maker, solver = self.session.materialiser, solver_of(recipe)
        located = locate(self.lm, self.requests, recipe, preconditioners, targets=targets)
        delta = Delta(
            {
                layer: solver.system(
                    stack(located, layer, maker.base), preconditioners[layer]
                ).solution
                for layer in recipe.layers
            }
        )
        with edited(self.lm, delta, maker.dtype) as lm:
            return score(lm, self.facts, self.reference)
