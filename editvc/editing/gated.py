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

import torch
from torch import Tensor

from editvc.algebra.gate_filter import FilterSolver, FilterWeights, threshold
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.input_statistics import LayerInputs
from editvc.core.facts import PLACEHOLDER, Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.progress import Progress
from editvc.editing.resources import Resources
from editvc.editing.subject_states import edit_site
from editvc.editing.target_search import Target, find_targets
from editvc.models.forward import batches, inputs_at
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, subject_tokens, tokenize


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[GatedEdit]:
    """:func:`find_gates`, with what it needs taken from ``resources``."""
    return find_gates(
        lm, requests, recipe, resources.inputs(recipe), resources.names(recipe), progress=progress
    )


def find_gates(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    inputs: LayerInputs,
    names: Sequence[str],
    *,
    progress: Progress | None = None,
) -> list[GatedEdit]:
    """One gated edit for every request, each as if it were the only one. Leaves the model as it is.

    Raises the errors of :mod:`editvc.models.tokenization`, ``NoUpProjError`` and
    :class:`editvc.models.replay.ReplayError`.
    """
    (layer,) = recipe.layers
    subjects = subject_inputs(lm, requests, recipe)
    solver = FilterSolver(
        inputs.moment, FilterWeights(recipe.stranger_weight, recipe.subject_weight)
    )
    targets = find_targets(lm, requests, recipe, progress=progress)
    gain = lm.gain(edit_site(recipe))
    edits = []
    for request, seen, target in zip(requests, subjects, targets, strict=True):
        others = inputs.names[[not related(name, request.subject) for name in names]]
        first = solver.filter(seen, others[:0])
        similar = others[(others @ first).topk(min(recipe.strangers, len(others))).indices]
        w = solver.filter(seen, similar)
        scores, strange = seen @ w, others @ w
        t = threshold(scores, strange, recipe.threshold_low, recipe.threshold_high)
        edits.append(_gated(layer, w, t, target, gain, scores, strange))
    return edits


def subject_inputs(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe
) -> list[Tensor]:
    """The MLP's inputs (contexts + 1, u) at each subject's last token, float64, on the CPU.

    In the recipe's ``subject_contexts``, then in the request's own prompt.
    """
    own = [row for (row,) in tokenize(lm.tokenizer, requests)]
    placed = [
        (context.replace(PLACEHOLDER, request.subject), context.index(PLACEHOLDER) + len(request.subject))
        for request in requests
        for context in recipe.subject_contexts
    ]  # fmt: skip
    width = len(recipe.subject_contexts)
    generic = subject_tokens(lm.tokenizer, placed)
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


def related(name: str, subject: str) -> bool:
    """Whether a name of the list is the subject itself, or holds it, or is held by it."""
    one, other = name.casefold(), subject.casefold()
    return one in other or other in one


def _gated(
    layer: int, w: Tensor, t: float, target: Target, gain: float, scores: Tensor, strange: Tensor
) -> GatedEdit:
    return GatedEdit(
        layer,
        filter=w.float(),
        threshold=torch.tensor([t], dtype=torch.float32),
        value=(target.delta / gain).float().cpu().clone(),
        key=target.keys[layer].float().cpu().clone(),
        figures={
            **target.figures,
            "subject_score": float(scores.min()),
            "stranger_score": float(strange.max()) if len(strange) else 0.0,
        },
    )
