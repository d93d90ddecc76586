"""Where gated edits answer: two filters and a threshold, each in closed form.

One filter knows the subject from text and from the names of the statistics that are most like it,
but not from its twins (:mod:`editvc.editing.twins`). Another, :func:`telling_filter`, tells it from
these, and is less sure of the rest. A weighted mean of both opens the gate, above a share of the
lowest score that the subject has in any context; in a gated MLP the telling filter also multiplies
what comes through. docs/adr/0015-gated-edits.md has what was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from editvc.algebra.gate_filter import FilterSolver, FilterWeights, telling_filter
from editvc.algebra.input_statistics import LayerInputs
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.closing_marks import before_marks
from editvc.editing.first_token import FirstOpening, first_openings
from editvc.editing.subject_inputs import (
    SubjectInputs,
    name_rows,
    subject_inputs,
    template_moment,
    together,
)
from editvc.editing.twins import twins
from editvc.models.forward import inputs_at_ends
from editvc.models.language_model import LanguageModel

TWIN_CONTEXTS = ("The name {}", "{}")
"""Where names are seen that a filter is to know as others."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Where an edit answers: ``filter`` (u,), ``threshold``, and ``telling`` (u,) if it has one.

    ``input`` (u,) is what the MLP sees of the subject in the mean, ``lowest`` the lowest score of
    the subject in any context, ``highest`` that of the names of the statistics that have nothing to
    do with it. ``first`` is where it answers as the first token of a text.
    """

    filter: Tensor
    threshold: float
    telling: Tensor | None
    input: Tensor
    lowest: float
    highest: float
    first: FirstOpening | None


def find_gates(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe, inputs: LayerInputs
) -> list[Gate]:
    """The gate of every request: a few short passes, and nothing is searched for.

    Raises the errors of :mod:`editvc.models.tokenization`, and ``NoUpProjError``.
    """
    return find_shared_gates(lm, [[request] for request in requests], recipe, inputs)


def find_shared_gates(
    lm: LanguageModel, groups: Sequence[Sequence[Request]], recipe: GatedRecipe, inputs: LayerInputs
) -> list[Gate]:
    """:func:`find_gates`, one for each group of requests of one subject, all of which it knows."""
    moment, template = inputs.moment, template_moment(lm, recipe)
    if template is not None:
        moment = moment + recipe.template_weight * template
    weights = FilterWeights(recipe.stranger_weight, recipe.subject_weight)
    solver = FilterSolver(moment, weights)
    members = [[before_marks(request) for request in group] for group in groups]
    requests = [group[0] for group in members]
    multiplied = lm.architecture.gate_proj is not None
    gates = []
    each = iter(subject_inputs(lm, [request for group in members for request in group], recipe))
    subjects = [together([next(each) for _ in group]) for group in members]
    all_others = [strangers(inputs.names, [request.subject]) for request in requests]
    like = _like(lm, requests, recipe, inputs, solver, subjects, all_others)
    firsts = first_openings(lm, requests, recipe, inputs, moment)
    for subject, others, (similar, made), first in zip(
        subjects, all_others, like, firsts, strict=True
    ):
        seen = subject.everywhere
        knowing = solver.filter(subject.plain, similar)
        telling = telling_filter(moment, seen, torch.cat([similar, made]), recipe.telling_ridge)
        w = (1 - recipe.telling_share) * knowing + recipe.telling_share * telling
        lowest = float((seen @ w).min())
        strange = inputs.inputs[others] @ w
        gates.append(
            Gate(
                w,
                recipe.threshold * lowest,
                telling if multiplied else None,
                seen.mean(dim=0),
                lowest,
                float(strange.max()) if len(others) else 0.0,
                first,
            )
        )
    return gates


def _like(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    inputs: LayerInputs,
    solver: FilterSolver,
    subjects: Sequence[SubjectInputs],
    all_others: Sequence[Sequence[int]],
) -> list[tuple[Tensor, Tensor]]:
    """What the MLP sees of names like each subject: of the list's, and of the twins made for it.

    Those of the list are the ones that a filter made against text alone scores highest.
    """
    rows: list[tuple[int, ...]] = []
    counts: list[int] = []
    for request, subject, others in zip(requests, subjects, all_others, strict=True):
        alone = solver.filter(subject.plain, subject.plain[:0])
        scores = inputs.inputs[others] @ alone
        nearest = scores.topk(min(recipe.strangers, len(others))).indices.tolist()
        listed = [inputs.names[others[place]] for place in nearest]
        for names in (listed, twins(lm.tokenizer, request.subject)):
            made = name_rows(lm, names, TWIN_CONTEXTS)
            rows += made
            counts.append(len(made))
    (states,) = inputs_at_ends(lm, rows, recipe.layers).values()
    parts = states.split_with_sizes(counts)
    return list(zip(parts[::2], parts[1::2], strict=True))


def strangers(names: Sequence[str], subjects: Sequence[str]) -> list[int]:
    """Which names have nothing to do with any subject: none is one, holds one or is held by one."""
    folded, own = _folded(tuple(names)), [subject.casefold() for subject in subjects]
    held = {place for subject in own for place, name in enumerate(folded) if subject in name}
    held |= {place for subject in own for place, name in enumerate(folded) if name in subject}
    return [place for place in range(len(folded)) if place not in held]


@lru_cache(maxsize=4)
def _folded(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without regard to case: every request is held against all of them."""
    return tuple(map(str.casefold, names))
