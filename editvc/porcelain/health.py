"""``health``: what a revision's weights have become, judged layer by layer and along history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editvc.algebra.diagnostics import leverage
from editvc.algebra.gate_health import FIGURES as GATE_FIGURES
from editvc.algebra.gate_health import GateHealth, gate_health
from editvc.algebra.gated_edit import GatedEdit, Plateau
from editvc.algebra.layer_health import FIGURES, LayerHealth, Reference, outliers
from editvc.algebra.verdict import Verdict, judge
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.forecast import MOST, Forecast, forecast
from editvc.core.history import Entry, Tree
from editvc.core.ids import short
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.subject_gates import strangers
from editvc.porcelain.health_history import health_history
from editvc.porcelain.layer_figures import judged_layers, worst_figures
from editvc.session.on_branch import tip_of_head
from editvc.session.session import Session
from editvc.session.trees import commit_at, tree_at

TYPICAL_FROM = 8
"""From how many live and new edits on their medians say what is typical."""

ATTENUATED_BELOW = 0.75
"""An edit that keeps less than this share of what it would get alone is named."""


@dataclass(frozen=True, slots=True)
class Attenuated:
    """An edit that the others drown out: ``kept`` is its share of what it would get alone."""

    layer: int
    kept: float
    fact: Fact

    def to_json(self) -> dict[str, Any]:
        """For ``health --json``."""
        return {
            "layer": self.layer,
            "kept": self.kept,
            "fact": self.fact.id,
            "subject": self.fact.subject,
        }


@dataclass(frozen=True, slots=True)
class CodebookHealth:
    """What is in codebooks and not in the weights: ``facts``, and the ``keys`` that answer them.

    ``lost`` are facts whose own prompt no longer finds their answer: a fact with another target
    came too close, and the two shared the distance between them. It is told by the keys that the
    facts were made with: no model is loaded, which would read them on the weights as they are now.
    """

    facts: int
    keys: int
    lost: tuple[Fact, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``health --json``."""
        return {"facts": self.facts, "keys": self.keys, "lost": [fact.id for fact in self.lost]}


@dataclass(frozen=True, slots=True)
class LayerGates:
    """What the gated edits of a layer have become, with the facts whose gates overlap.

    ``overlaps`` are (the fact of the gate, the fact whose subject it opens for, how far).
    """

    figures: GateHealth
    overlaps: tuple[tuple[Fact, Fact, float], ...]

    def to_json(self) -> dict[str, Any]:
        """For ``health --json``."""
        overlaps = [
            {"gate": gate.id, "subject": subject.id, "open": share}
            for gate, subject, share in self.overlaps
        ]
        return self.figures.to_json() | {"overlaps": overlaps}


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Figures per layer, the verdict and its reasons, and the figures of every commit so far.

    ``codebook`` counts what is not in the weights, which all else is about. ``trend`` has (commit
    number, its figures), oldest first. ``others`` are changed weights that no figure judges, with
    the Frobenius norm of their change: those that are no down projection of a layer with
    statistics, which patches reach. ``forecast`` says how many more edits are safe, where history
    is long enough to tell.
    """

    verdict: str
    reasons: tuple[str, ...]
    layers: tuple[LayerHealth, ...]
    worst: tuple[Attenuated, ...]
    codebook: CodebookHealth
    trend: tuple[tuple[int, dict[str, float]], ...]
    others: tuple[tuple[str, float], ...] = ()
    gates: tuple[LayerGates, ...] = ()
    forecast: Forecast | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract of ``health --json``."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "layers": [layer.to_json() for layer in self.layers],
            "attenuated": [one.to_json() for one in self.worst],
            "codebook": self.codebook.to_json(),
            "trend": [{"number": number} | figures for number, figures in self.trend],
            "others": dict(self.others),
            "gates": [one.to_json() for one in self.gates],
            "forecast": None if self.forecast is None else self.forecast.to_json(),
        }

    def summary_figures(self) -> dict[str, float]:
        """:func:`worst_figures` of its layers, for cards."""
        return worst_figures(self.layers)


def check_health(session: Session, revision: str) -> HealthReport:
    """Judge the weights of a revision by the thresholds of config.toml.

    A layer that no statistics cover, as where a patch is, cannot be judged, nor a weight that is no
    down projection: that is a warning.
    """
    plumbing, maker = session.repository, session.materialiser
    tree = tree_at(session, revision)
    delta, groups = maker.delta(tree), maker.solutions.groups(tree)
    entries = [entry for group in groups for entry in group.entries]
    recipes = [group.recipe for group in groups]
    layers, worst, others = [], [], dict(delta.weights)
    bare = [layer for layer in delta.layers if not maker.statistics.covers(layer, recipes)]
    blind = _blind(bare, len(delta.weights))
    for layer in bare:
        others[maker.architecture.weight_name(layer)] = delta.layers[layer]
    for figures, here in judged_layers(session, tree):
        layers.append(figures)
        worst += [(figures.layer, kept, here[index]) for index, kept in figures.worst]
    gates = gate_figures(session, tree)
    limits = plumbing.config.health
    judged = judge(layers, FIGURES, limits) + judge(
        [one.figures for one in gates], GATE_FIGURES, limits
    )
    ahead = _forecast(session, revision)
    if ahead is not None and judged.level != "refuse" and ahead.too_few(limits.forecast_warn):
        judged += Verdict(warned=(ahead.line,))
    return HealthReport(
        verdict="warn" if blind and judged.level == "ok" else judged.level,
        reasons=judged.reasons + blind,
        layers=tuple(layers),
        worst=_named(session, worst) if entries else (),
        codebook=_codebook_health(session, tree),
        gates=gates,
        forecast=ahead,
        trend=_trend(session, revision),
        others=tuple((name, others[name].frobenius()) for name in sorted(others)),
    )


def _blind(layers: Sequence[int], weights: int) -> tuple[str, ...]:
    reasons = []
    if layers:
        reasons.append(
            f"layers {list(layers)} are changed and not judged: no statistics cover them "
            "(`editvc stats compute` takes them for the layers of config.toml)"
        )
    if weights:
        reasons.append(f"not judged, being no down projections: {weights} changed weights")
    return tuple(reasons)


def _named(session: Session, worst: Sequence[tuple[int, float, Entry]]) -> tuple[Attenuated, ...]:
    """The most attenuated edits over all layers, each at its worst layer, by fact."""
    lowest: dict[Entry, tuple[int, float]] = {}
    for layer, kept, entry in worst:
        if kept < lowest.get(entry, (layer, ATTENUATED_BELOW))[1]:
            lowest[entry] = (layer, kept)
    ordered = sorted(lowest.items(), key=lambda item: item[1][1])[:5]
    return tuple(
        Attenuated(layer, kept, session.repository.read_fact(entry.fact))
        for entry, (layer, kept) in ordered
    )


def _codebook_health(session: Session, tree: Tree) -> CodebookHealth:
    maker = session.materialiser
    entries = maker.elements.in_codebooks(tree)
    books = maker.elements.codebooks(entries)
    lost = [
        session.repository.read_fact(entry.fact)
        for entry, element in entries.items()
        if not any(book.answers(element) for book in books)
    ]
    return CodebookHealth(len(entries), sum(map(len, books)), tuple(lost))


def gate_figures(session: Session, tree: Tree) -> tuple[LayerGates, ...]:
    """The gated edits of a tree, layer by layer, lowest first.

    Names that are edited, or hold an edited subject, are no strangers, and are left out.
    """
    plumbing, statistics = session.repository, session.materialiser.statistics
    layers: dict[int, list[tuple[Entry, GatedRecipe, GatedEdit]]] = {}
    for entry, recipe, edit, _ in session.materialiser.elements.gated(tree):
        layers.setdefault(edit.layer, []).append((entry, recipe, edit))
    found = []
    for layer, members in sorted(layers.items()):
        facts = [plumbing.read_fact(entry.fact) for entry, _, _ in members]
        inputs = statistics.inputs_of(members[0][1])
        subjects = [fact.subject.casefold() for fact in facts]
        strange = strangers(inputs.names, subjects)
        gates = [(Plateau(recipe.slope, recipe.rise), edit) for _, recipe, edit in members]
        figures = gate_health(layer, gates, subjects, inputs.text, inputs.inputs[strange])
        overlaps = [(facts[one.gate], facts[one.subject], one.open) for one in figures.overlaps]
        found.append(LayerGates(figures, tuple(overlaps)))
    return tuple(found)


def _trend(session: Session, revision: str) -> tuple[tuple[int, dict[str, float]], ...]:
    commit = commit_at(session, revision)
    if commit is None:
        return ()
    rows = reversed(list(session.repository.graph.first_parents(commit)))
    return tuple((row.number, dict(row.health)) for row in rows)


def _forecast(session: Session, revision: str) -> Forecast | None:
    moments = health_history(session, revision, MOST)
    points = [(one.live, one.worst) for one in moments]
    return forecast(points, session.repository.config.health)


def outlier_warnings(
    session: Session, recipe: Recipe, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[str, ...]:
    """Warnings, in words, for new edits that look like disabling ones, each at its worst layer.

    What is typical are the medians over the live edits and the new ones together. Patches have
    neither leverage nor residual.
    """
    maker = session.materialiser
    if not isinstance(recipe, LocatedRecipe) or len(maker.elements.located(entries)) < len(entries):
        return ()
    tree = tip_of_head(session).tree
    live = [group.entries for group in maker.solutions.groups(tree) if group.recipe.id == recipe.id]
    both = [*entries, *(entry for one in live for entry in one)]
    if len(both) < TYPICAL_FROM:
        return ()
    warnings: dict[int, str] = {}
    for layer, edits in maker.solutions.stacked(recipe, both).items():
        leverages = leverage(maker.preconditioners.of_layer(recipe, layer).apply_left(edits.keys))
        norms = torch.linalg.vector_norm(edits.residuals, dim=0)
        typical = Reference.of(leverages, norms)
        assert typical is not None, "there are edits, so they have medians"
        count, limits = len(entries), session.repository.config.health
        for outlier in outliers(leverages[:count], norms[:count], typical, limits):
            fact = facts[outlier.index]
            warnings.setdefault(
                outlier.index,
                f"{quoted(fact.question)} (fact {short(fact.id)}): layer {layer}: {outlier.reason}",
            )
    return tuple(warnings[index] for index in sorted(warnings))
