"""From requests to located edits: the keys and residuals that the algebra works on.

:func:`locate` takes every edit alone on the model as it is, so edits are independent of each other.
:func:`locate_together` sees a whole set at once, layer after layer, each with the layers below
already edited: what ``squash`` does. Both leave the model as they found it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.preconditioners import Guard, SolveError
from editvc.algebra.solvers import Edits, solver_of
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.editing.layer_spread import (
    adding,
    asked,
    in_parts,
    share,
    share_of,
    spread_alone,
    subject_states,
    whitened,
)
from editvc.editing.output_gradients import locate_by_gradient
from editvc.editing.target_search import (
    MEMORY,
    Target,
    edit_bytes,
    find_targets,
    over_contexts,
    trace_edits,
)
from editvc.models.architectures import architecture_in, inner_size
from editvc.models.devices import device_of
from editvc.models.forward import padded_right
from editvc.models.head import logits_of
from editvc.models.hooks import undisturbed
from editvc.models.tokenization import Traced, trace


def locate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    guards: Mapping[int, Guard],
    *,
    shaping: Tensor | None = None,
    targets: Sequence[Target] | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Located]:
    """Locate every request on the base, each as if it were the only edit (:mod:`.spread`).

    ``shaping`` (u, u) is the recipe's sensitivity made ready for targets. ``targets`` are those of
    the requests where they are known: no weight of the guarded keys decides on them. Raises what
    :func:`editvc.editing.target_search.find_targets` raises, and :class:`SolveError` for a request
    that a layer cannot answer, its key being zero or not finite.
    """
    if recipe.row.target == "gradient":
        return locate_by_gradient(model, tokenizer, requests, recipe, progress=progress)
    if targets is None:
        targets = find_targets(
            model, tokenizer, requests, recipe, shaping=shaping, memory=memory, progress=progress
        )
    rows = trace(tokenizer, requests, recipe.contexts)
    z = torch.stack([target.z for target in targets]) if targets else torch.zeros(0, 0)
    spread: dict[int, tuple[dict[int, Tensor], dict[int, Tensor]]] = {}
    for part in in_parts(rows, model, memory):
        mine = [rows[place] for place in part]
        found = spread_alone(model, mine, z[part], recipe, guards)
        for place, (keys, residuals) in zip(part, found, strict=True):
            for layer in recipe.layers:
                _require_finite(requests[place], layer, keys[layer], residuals[layer])
        spread.update(zip(part, found, strict=True))
        if progress is not None:
            progress("keys", len(spread), len(rows))
    return [_located(target, *spread[place]) for place, target in enumerate(targets)]


def locate_together(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    alone: Sequence[Located],
    recipe: LocatedRecipe,
    guards: Mapping[int, Guard],
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
    if not requests or recipe.row.target == "gradient":
        return list(alone)
    rows = trace(tokenizer, requests, recipe.contexts)
    deltas = _deltas(alone, recipe, guards).to(device_of(model))
    solver = solver_of(recipe)
    gain = architecture_in(model).gain(model.config, recipe.row.target)
    keys: dict[int, Tensor] = {}
    residuals: dict[int, Tensor] = {}
    solved: dict[int, Factored] = {}
    for place, layer in enumerate(recipe.layers):
        keys[layer], hidden = _seen(model, rows, recipe, layer, solved, memory)
        if not solved:
            z = hidden + deltas * gain
        shares = (z - hidden) * (share(recipe, place) / gain)
        levers = leverage(whitened(keys[layer], guards[layer]))
        residuals[layer] = asked(shares, solver.alone(levers), recipe.compensation)
        for request, key, residual in zip(requests, keys[layer], residuals[layer], strict=True):
            _require_finite(request, layer, key, residual)
        edits = Edits(keys[layer].T.double().cpu(), residuals[layer].T.double().cpu())
        solved[layer] = solver.system(edits, guards[layer]).solution
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


def _deltas(alone: Sequence[Located], recipe: LocatedRecipe, guards: Mapping[int, Guard]) -> Tensor:
    """``z - h`` (n, u), over the gain, of edits located alone: from the lowest layer's share."""
    lowest = recipe.layers[0]
    residuals = torch.stack([one.residuals[lowest] for one in alone])
    keys = torch.stack([one.keys[lowest] for one in alone])
    parts = solver_of(recipe).alone(leverage(whitened(keys, guards[lowest])))
    return share_of(residuals, parts, recipe.compensation) / share(recipe, 0)


def knows(
    model: Any, tokenizer: Any, requests: Sequence[Request], *, batch: int = 32
) -> list[bool]:
    """Whether greedy generation after each question already begins with the target's tokens.

    One forward pass: the generation begins with the target exactly when every target token is the
    most likely one after those before it.
    """
    rows = [traced for (traced,) in trace(tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    known: dict[int, bool] = {}
    with undisturbed(model), torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            ids, mask = padded_right([rows[i].ids[:-1] for i in chosen], device_of(model))
            hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
            for place, index in enumerate(chosen):
                row = rows[index]
                said = logits_of(model, hidden[place, row.target - 1 : len(row.ids) - 1]).argmax(-1)
                known[index] = said.tolist() == list(row.ids[row.target :])
    return [known[index] for index in range(len(rows))]


def estimate_memory(
    config: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    memory: int = MEMORY,
) -> int:
    """Bytes that locating takes at most beside the model: one batch, and what is handed back."""
    edits = trace_edits(tokenizer, requests, recipe)
    if not edits:
        return 0
    sizes = sorted((edit_bytes(edit, config) for edit in edits), reverse=True)
    largest = max(sizes[0], min(sum(sizes), memory))
    return largest + len(edits) * located_bytes(config, len(recipe.layers))


def located_bytes(config: Any, layers: int) -> int:
    """Upper bound of a stored located edit: 4 (u + v) bytes a layer, and 4 KB."""
    return 4 * (int(config.hidden_size) + inner_size(config)) * layers + 4096


def _require_finite(request: Request, layer: int, key: Tensor, residual: Tensor) -> None:
    """Numbers that were stored once are found in the store ever after: only sound ones may be."""
    if not bool(torch.isfinite(key).all() and torch.isfinite(residual).all()):
        what = "zero" if not key.any() else "out of range"
        raise SolveError(
            f"layer {layer} cannot be edited for {request.question!r}: "
            f"its key at the end of {request.subject!r} is {what}",
            hint="Leave the fact out, or name other layers under [recipe] in config.toml.",
        )


def _located(target: Target, keys: dict[int, Tensor], residuals: dict[int, Tensor]) -> Located:
    figures = target.figures | {
        "residual": float(target.delta.norm()),
        "hidden": float(target.hidden.norm()),
    }
    return Located(_stored(keys), _stored(residuals), figures)


def _stored(vectors: dict[int, Tensor]) -> dict[int, Tensor]:
    return {layer: vector.float().cpu().clone() for layer, vector in vectors.items()}


def _seen(
    model: Any,
    rows: Sequence[Sequence[Traced]],
    recipe: LocatedRecipe,
    layer: int,
    solved: Mapping[int, Factored],
    memory: int,
) -> tuple[Tensor, Tensor]:
    """Keys (n, v) of one layer, and h^L (n, u) in the first context, under the layers solved."""
    contexts = len(rows[0])
    acting = {below: adding(factored, model) for below, factored in solved.items()}
    keys: dict[int, Tensor] = {}
    hidden: dict[int, Tensor] = {}
    for part in in_parts(rows, model, memory):
        flat = [row for place in part for row in rows[place]]
        k, h = subject_states(model, flat, recipe, layer, acting)
        keys.update(zip(part, over_contexts(k, contexts), strict=True))
        hidden.update(zip(part, h[::contexts], strict=True))
    places = range(len(rows))
    return torch.stack([keys[i] for i in places]), torch.stack([hidden[i] for i in places])
