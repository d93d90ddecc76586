"""From requests to gated edits: a gate for the subject, and the value behind it.

The gate is made in closed form (:mod:`editvc.editing.subject_gates`). The value is MEMIT's target
for the output of the block (:mod:`editvc.editing.target_search`), searched for in several ways of
asking (:mod:`editvc.editing.frames`). Each edit is made as if it were the only one, and stays so:
no set is solved. docs/adr/0015-gated-edits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from editvc.algebra.gated_edit import FirstGate, GatedEdit
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.progress import Progress
from editvc.editing.frames import joined, tokenize_frames
from editvc.editing.resources import Resources
from editvc.editing.subject_gates import Gate, find_shared_gates
from editvc.editing.subject_states import edit_site
from editvc.editing.target_search import Target, search_targets
from editvc.models.language_model import LanguageModel


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[GatedEdit]:
    """One gated edit for every request, each as if it were the only one. Leaves the model as it is.

    Raises what :func:`editvc.editing.subject_gates.find_gates` and
    :func:`editvc.editing.target_search.search_targets` raise.
    """
    return make_shared(lm, [[request] for request in requests], recipe, resources, progress)


def make_shared(
    lm: LanguageModel,
    groups: Sequence[Sequence[Request]],
    recipe: GatedRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[GatedEdit]:
    """:func:`make_elements`, one for each group of requests of one subject.

    Its gate opens in all of them, and its value is searched for with all of them asked.
    """
    if progress is not None:
        progress("targets", 0, len(groups))  # the first batch may take a minute
    gates = find_shared_gates(lm, groups, recipe, resources.inputs(recipe))
    requests = [request for group in groups for request in group]
    each = iter(tokenize_frames(lm.tokenizer, requests, recipe.contexts, recipe.held_contexts))
    frames = [joined([next(each) for _ in group]) for group in groups]
    search = partial(search_targets, lm, recipe=recipe, turns=recipe.v_turns, progress=progress)
    targets = search([one.behind for one in frames])
    begins = {
        place: one.at_first
        for place, (gate, one) in enumerate(zip(gates, frames, strict=True))
        if gate.first is not None and one.at_first is not None
    }
    found = search([*begins.values()])
    first = dict(zip(begins, found, strict=True))
    gain = lm.gain(edit_site(recipe))
    return [
        _gated(recipe, gate, target, first.get(place), gain, at_first=one.at_first is not None)
        for place, (gate, target, one) in enumerate(zip(gates, targets, frames, strict=True))
    ]


def _gated(
    recipe: GatedRecipe,
    gate: Gate,
    target: Target,
    first: Target | None,
    gain: float,
    *,
    at_first: bool,
) -> GatedEdit:
    (layer,) = recipe.layers
    return GatedEdit(
        layer,
        filter=gate.filter.float(),
        threshold=_number(gate.threshold),
        value=_value(target, gain),
        input=gate.input.float(),
        key=target.keys[layer].float().cpu().clone(),
        telling=None if gate.telling is None else gate.telling.float(),
        figures={
            **target.figures,
            "subject_score": gate.lowest,
            "stranger_score": gate.highest,
            "lost_at_start": float(at_first and gate.first is None),
        },
        first=None
        if gate.first is None or first is None
        else FirstGate(
            gate.first.filter.float(), _number(gate.first.threshold), _value(first, gain)
        ),
    )


def _value(target: Target, gain: float) -> Tensor:
    return (target.delta / gain).float().cpu().clone()


def _number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float32)
