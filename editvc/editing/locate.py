"""From requests to located edits: the keys and residuals that the algebra works on.

:func:`locate` takes every edit alone on the model as it is, so edits are independent of each other.
:func:`locate_together` sees a whole set at once, layer after layer, each with the layers below
already edited: what ``squash`` does. Both leave the model as they found it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.preconditioners import Preconditioner, SolveError
from editvc.algebra.solvers import Edits, solver_of
from editvc.core.cut import quoted
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.editing.edit_batches import MEMORY, spread_batches
from editvc.editing.layer_spread import (
    compensated_residuals,
    share,
    spread_single_edits,
    uncompensate,
    values_of,
)
from editvc.editing.output_gradients import locate_by_gradient
from editvc.editing.published_forms import KEYS, REFERENCES, self_responses
from editvc.editing.resources import Resources
from editvc.editing.subject_states import as_columns, edit_site, subject_states
from editvc.editing.target_search import Target, find_targets
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize
from editvc.models.weights import delta_hook


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[Located]:
    """:func:`locate`, with what it needs taken from ``resources``."""
    if progress is not None:
        progress("targets", 0, len(requests))  # the first batch may take a minute
    return locate(
        lm,
        requests,
        recipe,
        resources.preconditioners(recipe),
        shaping=resources.shaping(recipe),
        progress=progress,
    )


def locate(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
    *,
    shaping: Tensor | None = None,
    targets: Sequence[Target] | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Located]:
    """Locate every request on the base, each as if it were the only edit (:mod:`.layer_spread`).

    ``shaping`` (u, u) is the recipe's sensitivity made ready for targets. ``targets`` are those of
    the requests where they are known: no weight of the guarded keys decides on them. Raises what
    :func:`editvc.editing.target_search.find_targets` raises, and :class:`SolveError` for a request
    that a layer cannot answer, its key being zero or not finite.
    """
    if recipe.row.edit_site is None:
        return locate_by_gradient(lm, requests, recipe, progress=progress)
    if targets is None:
        targets = find_targets(
            lm, requests, recipe, shaping=shaping, memory=memory, progress=progress
        )
    rows = tokenize(lm.tokenizer, requests, recipe.contexts)
    z = torch.stack([target.z for target in targets]) if targets else torch.zeros(0, 0)  # (n, u)
    spread: dict[int, tuple[dict[int, Tensor], dict[int, Tensor]]] = {}
    for batch in spread_batches(rows, lm, memory):
        edits = spread_single_edits(
            lm, [rows[place] for place in batch], z[batch], recipe, preconditioners
        )
        for place, (keys, residuals) in zip(batch, edits, strict=True):
            for layer in recipe.layers:
                _require_finite(requests[place], layer, keys[layer], residuals[layer])
        spread.update(zip(batch, edits, strict=True))
        if progress is not None:
            progress("keys", len(spread), len(rows))
    return [_located(target, *spread[place]) for place, target in enumerate(targets)]


def locate_together(
    lm: LanguageModel,
    requests: Sequence[Request],
    alone: Sequence[Located],
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
    *,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Located]:
    """Locate requests as one batch: a layer sees the layers below edited (MEMIT, algorithm 1).

    ``alone`` is what :func:`locate` found for them with this recipe: the targets z are taken from
    there. Then, from the lowest layer up, keys and shares of z - h^L as it is by then are read off
    and solved; the solution acts on the next layer through a hook, no weight is touched. Gradients
    (UltraEdit) are of one pass whatever the batch: they stay. Raises :class:`SolveError` as
    :func:`locate` does.
    """
    if not requests or recipe.row.edit_site is None:
        return list(alone)
    rows = tokenize(lm.tokenizer, requests, recipe.contexts)
    solver = solver_of(recipe)
    gain = lm.gain(edit_site(recipe))
    keys: dict[int, Tensor] = {}
    residuals: dict[int, Tensor] = {}
    solved: dict[int, Factored] = {}
    reference: Tensor | None = None
    for place, layer in enumerate(recipe.layers):
        # keys and bare: (n, v), hidden: (n, u)
        keys[layer], bare, hidden = _states(lm, rows, recipe, layer, solved, memory)
        reference = REFERENCES[recipe.row.reference](
            reference, hidden, partial(values_of, lm, layer, bare)
        )  # (n, u)
        if not solved:
            deltas = deltas_of(alone, bare, recipe, preconditioners).to(lm.device)  # (n, u)
            z = reference + deltas * gain  # (n, u)
        shares = (z - reference) * (share(recipe, place) / gain)  # (n, u)
        self_response = self_responses(recipe, keys[layer], bare, preconditioners[layer])  # (n,)
        residuals[layer] = compensated_residuals(shares, self_response, recipe.compensation)
        for request, key, residual in zip(requests, keys[layer], residuals[layer], strict=True):
            _require_finite(request, layer, key, residual)
        edits = Edits(as_columns(keys[layer]), as_columns(residuals[layer]))  # (v, n), (u, n)
        solved[layer] = solver.system(edits, preconditioners[layer]).solution
        if progress is not None:
            progress("layers", place + 1, len(recipe.layers))
    return [
        Located(
            _stored({layer: keys[layer][index] for layer in recipe.layers}),
            _stored({layer: residuals[layer][index] for layer in recipe.layers}),
            one.figures,
        )
        for index, one in enumerate(alone)
    ]


def deltas_of(
    alone: Sequence[Located],
    bare: Tensor,
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
) -> Tensor:
    """``z - h`` (n, u), over the gain, of edits located alone: from the lowest layer's share.

    ``bare`` (n, v) are the keys of the bare prompts there.
    """
    lowest = recipe.layers[0]
    residuals = torch.stack([one.residuals[lowest] for one in alone])  # (n, u)
    keys = torch.stack([one.keys[lowest] for one in alone])  # (n, v)
    self_response = self_responses(recipe, keys, bare, preconditioners[lowest])  # (n,)
    return uncompensate(residuals, self_response, recipe.compensation) / share(recipe, 0)


def _require_finite(request: Request, layer: int, key: Tensor, residual: Tensor) -> None:
    """Numbers that were stored once are found in the store ever after: only sound ones may be."""
    if not bool(torch.isfinite(key).all() and torch.isfinite(residual).all()):
        what = "zero" if not key.any() else "out of range"
        raise SolveError(
            f"layer {layer} cannot be edited for {quoted(request.question)}: "
            f"its key at the end of {quoted(request.subject)} is {what}",
            hint="Leave the fact out, or name other layers under [recipe] in config.toml.",
            details=request.to_json(),
        )


def _located(target: Target, keys: dict[int, Tensor], residuals: dict[int, Tensor]) -> Located:
    figures = target.figures | {
        "residual": float(target.delta.norm()),
        "hidden": float(target.hidden.norm()),
    }
    return Located(_stored(keys), _stored(residuals), figures)


def _stored(vectors: dict[int, Tensor]) -> dict[int, Tensor]:
    return {layer: vector.float().cpu().clone() for layer, vector in vectors.items()}


def _states(
    lm: LanguageModel,
    rows: Sequence[Sequence[TokenizedPrompt]],
    recipe: LocatedRecipe,
    layer: int,
    solved: Mapping[int, Factored],
    memory: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keys (n, v) of one layer, those of the bare prompts (n, v) and their h^L (n, u).

    All under the layers that are solved.
    """
    contexts = len(rows[0])
    hooks = {below: delta_hook(factored) for below, factored in solved.items()}
    average = KEYS[recipe.row.keys].average
    states: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for batch in spread_batches(rows, lm, memory):
        flat = [row for place in batch for row in rows[place]]
        k, h = subject_states(lm, flat, recipe, layer, hooks)  # (rows, v), (rows, u)
        of_batch = zip(average(k, contexts), k[::contexts], h[::contexts], strict=True)
        states.update(zip(batch, of_batch, strict=True))
    keys, bare, hidden = zip(*(states[place] for place in range(len(rows))), strict=True)
    return torch.stack(keys), torch.stack(bare), torch.stack(hidden)
