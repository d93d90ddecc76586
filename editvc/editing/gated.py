"""From requests to gated edits: a filter for the subject, a threshold, and the value behind it.

The filter (:mod:`editvc.algebra.gate_filter`) is made of the MLP's inputs at the subject's last
token, in generic contexts and in the fact's own prompt, against what the MLP sees in text and
against similar names: those of the statistics that a first filter scores highest, with the names
that share the subject's last word. The threshold stands between what the filter says of the subject
and of all names. The value is MEMIT's target for the output of the block
(:mod:`editvc.editing.target_search`). Each edit is made as if it were the only one, and stays so:
no set is solved. docs/adr/0015-gated-edits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.algebra.gate_filter import FilterSolver, FilterWeights, threshold
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.input_statistics import LayerInputs
from editvc.core.facts import PLACEHOLDER, Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.progress import Progress
from editvc.editing.edit_batches import tokenize_edits
from editvc.editing.resources import Resources
from editvc.editing.subject_states import edit_site
from editvc.editing.target_search import Target, search_targets
from editvc.models.forward import batches, inputs_at
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, subject_tokens, tokenize


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Where an edit answers: ``filter`` (u,) and ``threshold``, with what was seen of both sides.

    ``input`` (u,) is what the MLP sees of the subject in the mean, ``subject`` (contexts + 1,) the
    scores of that, ``strangers`` those of all names of
    the statistics that have nothing to do with it, highest first.
    """

    filter: Tensor
    threshold: float
    input: Tensor
    subject: Tensor
    strangers: tuple[tuple[str, float], ...]


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[GatedEdit]:
    """One gated edit for every request, each as if it were the only one. Leaves the model as it is.

    Raises the errors of :mod:`editvc.models.tokenization`, ``NoUpProjError`` and
    :class:`editvc.models.replay.ReplayError`.
    """
    gates = find_gates(lm, requests, recipe, resources.inputs(recipe))
    edits = tokenize_edits(lm.tokenizer, requests, recipe.contexts)
    targets = search_targets(lm, edits, recipe, progress=progress)
    gain = lm.gain(edit_site(recipe))
    return [_gated(recipe, gate, target, gain) for gate, target in zip(gates, targets, strict=True)]


def find_gates(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe, inputs: LayerInputs
) -> list[Gate]:
    """The gate of every request: a few short passes, and nothing is searched for."""
    solver = FilterSolver(
        inputs.moment, FilterWeights(recipe.stranger_weight, recipe.subject_weight)
    )
    gates = []
    for request, seen in zip(requests, subject_inputs(lm, requests, recipe), strict=True):
        names = strangers(inputs.names, [request.subject])
        others = inputs.inputs[names]  # (m, u)
        first = solver.filter(seen, others[:0])
        similar = others[(others @ first).topk(min(recipe.strangers, len(others))).indices]
        w = solver.filter(seen, similar)
        subject, strange = seen @ w, others @ w
        t = threshold(subject, strange, recipe.threshold_low, recipe.threshold_high)
        ranked = strange.sort(descending=True)
        listed = zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True)
        highest = tuple((inputs.names[names[i]], score) for i, score in listed)
        gates.append(Gate(w, t, seen.mean(dim=0), subject, highest))
    return gates


def subject_inputs(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe
) -> list[Tensor]:
    """The MLP's inputs (contexts + 1, u) at each subject's last token, float64, on the CPU.

    In the recipe's ``subject_contexts``, then in the request's own prompt.
    """
    own = [row for (row,) in tokenize(lm.tokenizer, requests)]
    texts = [
        placed(context, request.subject)
        for request in requests
        for context in recipe.subject_contexts
    ]
    width = len(recipe.subject_contexts)
    generic = subject_tokens(lm.tokenizer, texts)
    rows: list[TokenizedPrompt] = []
    for place, prompt in enumerate(own):
        rows += [*generic[place * width : (place + 1) * width], prompt]
    cut = [row.ids[: row.subject + 1] for row in rows]
    order = sorted(range(len(cut)), key=lambda place: len(cut[place]))
    found: list[Tensor] = []
    for batch in batches(order, lambda place: len(cut[place])):
        ends = [range(len(cut[place]) - 1, len(cut[place])) for place in batch]
        found += inputs_at(lm, [cut[place] for place in batch], ends, recipe.layers).values()
    back = torch.tensor(order).argsort()
    states = torch.cat(found).double().cpu()[back]
    return list(states.view(len(requests), width + 1, -1))


def placed(context: str, subject: str) -> tuple[str, int]:
    """A context with a subject in it, and where the subject ends there."""
    return context.replace(PLACEHOLDER, subject), context.index(PLACEHOLDER) + len(subject)


def strangers(names: Sequence[str], subjects: Sequence[str]) -> list[int]:
    """Which names have nothing to do with any subject: none is one, holds one or is held by one."""
    folded = [subject.casefold() for subject in subjects]
    places = []
    for place, name in enumerate(map(str.casefold, names)):
        if not any(subject in name or name in subject for subject in folded):
            places.append(place)
    return places


def _gated(recipe: GatedRecipe, gate: Gate, target: Target, gain: float) -> GatedEdit:
    (layer,) = recipe.layers
    return GatedEdit(
        layer,
        filter=gate.filter.float(),
        threshold=torch.tensor([gate.threshold], dtype=torch.float32),
        value=(target.delta / gain).float().cpu().clone(),
        input=gate.input.float(),
        key=target.keys[layer].float().cpu().clone(),
        figures={
            **target.figures,
            "subject_score": float(gate.subject.min()),
            "stranger_score": gate.strangers[0][1] if gate.strangers else 0.0,
        },
    )
