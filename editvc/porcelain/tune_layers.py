"""``tune --layers``: how well each layer knows the subjects of some facts, and which to edit.

Passes over the base alone. Statistics of text and names are taken for all layers, a few layers at a
time, and thrown away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from editvc.algebra.preconditioners import Whitening
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.method import Layers
from editvc.core.methods.recipe import Recipe
from editvc.editing.layer_scores import (
    GateScore,
    KeyScore,
    Row,
    Sightings,
    gate_score,
    key_score,
    sightings,
)
from editvc.models.forward import inputs_at_ends, keys_at_ends
from editvc.models.language_model import LanguageModel
from editvc.session.choose_recipe import choose
from editvc.session.fact_input import Facts, sourced
from editvc.session.recording import NothingToDo
from editvc.session.session import Session
from editvc.statistics.bundle import sources_of
from editvc.statistics.entity_moments import read_entities
from editvc.statistics.input_moments import input_statistics
from editvc.statistics.text_moments import text_moments

AT_ONCE = 8
"""Layers whose statistics are held at once."""

FACTS = 50
"""How many facts are looked at."""

NAMES = 1000
"""How many names of the list, evenly spread over it."""

NEAR = 10
"""With how many other names a fact's prompt is read."""

READING: Mapping[str, Callable[..., dict[int, Tensor]]] = {
    "keys": keys_at_ends,
    "inputs": inputs_at_ends,
}


@dataclass(frozen=True, slots=True)
class LayerScore:
    """What a layer would do for least squares, and for gates (``None`` where there can be none)."""

    layer: int
    keys: KeyScore
    gates: GateScore | None

    def to_json(self) -> dict[str, Any]:
        """Flat, by name."""
        gates = {} if self.gates is None else self.gates.to_json()
        return {"layer": self.layer} | self.keys.to_json() | gates


@dataclass(frozen=True, slots=True)
class LayerTable:
    """All layers but the last block, which no later one reads; what is in use, and what is best.

    ``used`` is the recipe of commits that name no method, ``recipe_layers`` are those of
    ``[recipe]``, ``gates_at`` the one that gates are at now.
    """

    scores: tuple[LayerScore, ...]
    facts: int
    used: Recipe
    recipe_layers: Layers
    gates_at: Layers

    @property
    def window(self) -> Layers:
        """The layers in a row whose keys are the most selective, in the mean."""
        width = min(len(self.recipe_layers), len(self.scores))
        windows = [
            self.scores[start : start + width] for start in range(len(self.scores) - width + 1)
        ]
        best = max(windows, key=lambda window: sum(one.keys.selectivity for one in window))
        return tuple(one.layer for one in best)

    @property
    def gate_layer(self) -> int | None:
        """The layer whose filters part most subjects from other names; the wider margin first."""
        gated = [(one.gates, one.layer) for one in self.scores if one.gates is not None]
        ranked = [(gates.parted, gates.margin, layer) for gates, layer in gated]
        return max(ranked)[2] if ranked else None

    @property
    def in_use(self) -> str:
        """What commits use now, in words."""
        layers = ", ".join(map(str, self.used.layers))
        method = f"commits use {self.used.method}, layers {layers}"
        if self.used.row.element == "located":
            return method
        return f"{method}; the numbers of [recipe] have no effect on them"

    def to_json(self) -> dict[str, Any]:
        """The contract of ``tune --layers --json``."""
        return {
            "facts": self.facts,
            "method": self.used.method,
            "layers": list(self.used.layers),
            "recipe_layers": list(self.recipe_layers),
            "gates_at": list(self.gates_at),
            "best_window": list(self.window),
            "best_gate_layer": self.gate_layer,
            "scores": [one.to_json() for one in self.scores],
        }


def score_layers(
    session: Session,
    facts: Facts,
    *,
    seed: int,
    texts: Sequence[Path] = (),
    entities: Path | None = None,
) -> LayerTable:
    """Score every layer on at most ``FACTS`` facts, drawn by ``seed``.

    ``texts`` and ``entities`` stand for what edits are to leave alone; the bundled ones where none
    are given. Raises :class:`NothingToDo` without a fact whose paraphrases name its subject.
    """
    lm, config = session.base_model(), session.recipe()
    gates = choose(session, next(iter(GatedRecipe.ROWS))).recipe
    assert isinstance(gates, GatedRecipe)
    unique = [one.fact for one in sourced(facts) if one.duplicate_of is None]
    seen = _seen(lm, unique, seed, config.contexts, gates)
    if not seen:
        raise NothingToDo(
            "nothing to score layers with: no fact has a paraphrase that names its subject",
            hint="Give facts with paraphrases, and more than one.",
        )
    sources = sources_of(texts, None, entities)
    named = read_entities(sources.entities)
    named = named[:: max(1, len(named) // NAMES)]
    layers, scores = range(max(1, session.materialiser.base.layers - 1)), list[LayerScore]()
    for start in range(0, len(layers), AT_ONCE):
        part = layers[start : start + AT_ONCE]
        moments = text_moments(lm, sources.read(), part)
        keys = _read("keys", lm, seen, part)
        if lm.architecture.up_proj is not None:
            inputs = _read("inputs", lm, seen, part)
            statistics = input_statistics(lm, sources.read(), named, part)
        for layer in part:
            whitening = Whitening.of(moments.matrix(layer), name=f"layer {layer}")
            of_gates = None
            if lm.architecture.up_proj is not None:
                subjects = [one.subject for one in seen]
                of_gates = gate_score(inputs[layer], subjects, statistics.layers[layer], gates)
            scores.append(LayerScore(layer, key_score(keys[layer], whitening), of_gates))
            if session.progress is not None:
                session.progress("layers", len(scores), len(layers))
    used = choose(session, None).recipe
    return LayerTable(tuple(scores), len(seen), used, config.layers, gates.layers)


def _seen(
    lm: LanguageModel, facts: Sequence[Fact], seed: int, contexts: Sequence[str], gates: GatedRecipe
) -> list[Sightings]:
    """Rows of the facts that can be scored, drawn by ``seed``."""
    drawn = random.Random(seed).sample(list(facts), len(facts))
    plain = gates.subject_contexts[: gates.seen_contexts]
    found: list[Sightings] = []
    for fact in drawn:
        names = near_names(fact, drawn)
        one = sightings(lm, fact.request, fact.paraphrases, names, contexts, plain)
        if one.complete:
            found.append(one)
        if len(found) == FACTS:
            break
    return found


def near_names(fact: Fact, others: Sequence[Fact]) -> list[str]:
    """At most ``NEAR`` names to put into a fact's prompt: what locality prompts have there first.

    Then the subjects of other facts, those of the same prompt first. None holds the subject, or is
    held by it.
    """
    before, after = fact.prompt.split(PLACEHOLDER, 1)
    held = [
        prompt[len(before) : len(prompt) - len(after)]
        for prompt in fact.locality
        if prompt.startswith(before) and prompt.endswith(after)
    ]
    alike = sorted(others, key=lambda other: other.prompt != fact.prompt)
    own = fact.subject.casefold()
    names = dict.fromkeys([*held, *(other.subject for other in alike)])
    apart = [
        name
        for name in names
        if name.strip() and own not in name.casefold() and name.casefold() not in own
    ]
    return apart[:NEAR]


def _read(
    what: str, lm: LanguageModel, seen: Sequence[Sightings], layers: Sequence[int]
) -> dict[int, list[dict[str, Tensor]]]:
    """Keys or inputs by layer, fact and kind of row: (rows, v) or (rows, u)."""
    parts = ("elsewhere", "near", "own" if what == "keys" else "plain")
    rows: list[Row] = [row for one in seen for part in parts for row in getattr(one, part)]
    counts = [len(getattr(one, part)) for one in seen for part in parts]
    by_layer: dict[int, list[dict[str, Tensor]]] = {}
    for layer, states in READING[what](lm, rows, layers).items():
        pieces = iter(states.split_with_sizes(counts))
        by_layer[layer] = [{part: next(pieces) for part in parts} for _ in seen]
    return by_layer
