"""An element made of one of another kind, from what that keeps: no target is searched for.

A gate keeps the key of its subject and the value that it adds to the MLP's output there, which is
all that least squares ask of an edit in one layer. A located edit keeps keys and residuals of
several layers; the share of its lowest layer tells the whole of ``z - h`` at its highest, and that
is the value of a gate in the highest layer, whose filters take a few passes over the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.input_statistics import LayerInputs
from editvc.algebra.located_edit import Located
from editvc.algebra.preconditioners import Preconditioner
from editvc.algebra.solvers import Edits, solver_of
from editvc.core.edit_site import EditSite
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.method import Method
from editvc.editing.closing_marks import before_marks
from editvc.editing.first_token import begins_with_subject, first_token
from editvc.editing.layer_spread import compensated_residuals
from editvc.editing.locate import deltas_of
from editvc.editing.subject_gates import find_gates
from editvc.editing.subject_states import average_over_contexts
from editvc.models.forward import keys_at_ends
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import tokenize

WHOLE = (EditSite.BLOCK_OUTPUT, EditSite.MLP_OUTPUT)
"""Sites whose targets an MLP's output meets alone. PMET's count on the attention's, too."""


def reads_subjects(row: Method) -> bool:
    """Whether a located method's keys are those of subjects: UltraEdit's are of target tokens."""
    return row.edit_site is not None


def edits_of(
    gates: Sequence[GatedEdit], recipe: LocatedRecipe, preconditioner: Preconditioner
) -> Edits:
    """Keys (v, n) and residuals (u, n) of gates of one layer, the recipe's only one.

    Each alone would get its value whole, as far as the recipe compensates
    (:func:`editvc.editing.layer_spread.compensated_residuals`).
    """
    keys = torch.stack([edit.key.double() for edit in gates], dim=1)  # (v, n)
    values = torch.stack([edit.value.double() for edit in gates])  # (n, u)
    alone = solver_of(recipe).self_response(leverage(preconditioner.apply_left(keys)))  # (n,)
    return Edits(keys, compensated_residuals(values, alone, recipe.compensation).T)


def as_located(
    gates: Sequence[GatedEdit], recipe: LocatedRecipe, preconditioner: Preconditioner
) -> list[Located]:
    """Located edits of the recipe's only layer with the keys and values of ``gates``."""
    (layer,) = recipe.layers
    edits = edits_of(gates, recipe, preconditioner)
    return [
        Located(
            {layer: gate.key},
            {layer: residual.float().contiguous()},
            {**gate.figures, "residual": float(gate.value.norm())},
        )
        for gate, residual in zip(gates, edits.residuals.T, strict=True)
    ]


def why_not_gated(lm: LanguageModel, request: Request) -> str:
    """Why no gate can have the value of a located edit of this request; empty where one can."""
    if before_marks(request) != request:
        return "its gate would stand before the subject's closing mark, its target is at the mark"
    if begins_with_subject(lm, request):
        return "its prompt begins with the subject, in one token, where a gate has another value"
    return ""


def as_gates(
    lm: LanguageModel,
    requests: Sequence[Request],
    located: Sequence[Located],
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
    gated: GatedRecipe,
    inputs: LayerInputs,
) -> list[GatedEdit]:
    """Gates in the highest layer of ``recipe``, that of ``gated``, with the values of ``located``.

    Where a subject can be the first token of a text a gate does not hold there, for its value at
    that place was never searched for. Raises what :func:`find_gates` raises.
    """
    (layer,) = gated.layers
    gates = find_gates(lm, requests, gated, inputs)
    bare = _bare_keys(lm, requests, recipe.layers[0])  # (n, v)
    values = deltas_of(located, bare, recipe, preconditioners)  # (n, u)
    if len(recipe.layers) == 1:
        keys = torch.stack([one.keys[layer] for one in located])  # (n, v)
    else:  # theirs are as under the layers below, edited
        keys = _base_keys(lm, requests, gated)
    return [
        GatedEdit(
            layer,
            filter=gate.filter.float(),
            threshold=torch.tensor([gate.threshold], dtype=torch.float32),
            value=value.float().clone(),
            input=gate.input.float(),
            key=key.float().clone(),
            telling=None if gate.telling is None else gate.telling.float(),
            figures={
                **one.figures,
                "subject_score": gate.lowest,
                "stranger_score": gate.highest,
                "lost_at_start": float(first_token(lm, request.subject) is not None),
            },
        )
        for request, one, gate, value, key in zip(
            requests, located, gates, values, keys, strict=True
        )
    ]


def _base_keys(lm: LanguageModel, requests: Sequence[Request], gated: GatedRecipe) -> Tensor:
    """Keys (n, v) of the subjects on the base, averaged over the contexts of ``gated``."""
    rows = [row for each in tokenize(lm.tokenizer, requests, gated.contexts) for row in each]
    cut = [row.ids[: row.subject + 1] for row in rows]
    (keys,) = keys_at_ends(lm, cut, gated.layers).values()
    return average_over_contexts(keys, len(gated.contexts))


def _bare_keys(lm: LanguageModel, requests: Sequence[Request], layer: int) -> Tensor:
    """Keys (n, v) of the subjects in their bare prompts, on the base."""
    cut = [row.ids[: row.subject + 1] for (row,) in tokenize(lm.tokenizer, requests)]
    return keys_at_ends(lm, cut, (layer,))[layer]
