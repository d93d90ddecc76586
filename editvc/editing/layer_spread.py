"""From a target z after layer L to a key and a residual share for every edited layer.

MEMIT spreads ``z - h^L`` over the layers one after the other: each layer's key and share are read
off under the layers below, already edited, so the upper layers make up for what the lower ones left
undone. In a batch that ties the edits to each other. :func:`spread_single_edits` does the same for
each edit as if it were the only one: what the layers below would then deliver is known in closed
form and is injected at the subject's last token. Edits stay independent, and their sum behaves
nearly as a batch refreshed layer by layer.

Ridge regression gives back less than it is asked for. :func:`compensated_residuals` makes up for
what an edit loses when it is alone, so that the weight of the old keys decides how edits share a
layer, and not whether one edit takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.preconditioners import Preconditioner
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.published_forms import KEYS, REFERENCES, self_responses
from editvc.editing.subject_states import (
    as_columns,
    edit_site,
    injecting,
    subject_states,
)
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt

SHARES: Mapping[str, Callable[[int], float]] = {
    "even": lambda left: 1 / left,
    "root": lambda left: 1 / sqrt(left),
}
"""The spreads that rows of :mod:`editvc.core.methods.table` name, by how many layers are left."""


def spread_single_edits(
    lm: LanguageModel,
    rows: Sequence[Sequence[TokenizedPrompt]],
    z: Tensor,
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
) -> list[tuple[dict[int, Tensor], dict[int, Tensor]]]:
    """Keys (v,) and residuals (u,) by layer of each edit alone; ``rows`` by edit and context.

    ``z`` is (n, u). From the lowest layer up, with everything injected so far: ``k`` the key
    averaged over the contexts, ``s`` the layer's share (:func:`share`) of ``z - h^L`` in the first
    context (over the family's ``gain``, where the block scales what its down projection gives), and
    what :func:`compensated_residuals` makes of it the residual. Rows may average otherwise, and
    have another reference in the place of h^L (:mod:`.published_forms`). The solver then gives this
    one edit its share of that for the key k, and ``a`` times as much for a key k_c, with
    ``a = k_c^T A^-1 k / k^T A^-1 k`` and ``A = lambda C``; ``delivery_factor`` times that is
    injected at the subject's last token in context c, for among other edits a layer gives back less
    than alone.
    """
    layers, contexts, row = recipe.layers, len(rows[0]), recipe.row
    flat = [row for edit in rows for row in edit]
    gain = lm.gain(edit_site(recipe))
    hooks: dict[int, Callable[..., Tensor]] = {}
    keys: dict[int, Tensor] = {}
    residuals: dict[int, Tensor] = {}
    reference: Tensor | None = None
    for place, layer in enumerate(layers):
        # each: (n * contexts, v), hidden: (n * contexts, u)
        each, hidden = subject_states(lm, flat, recipe, layer, hooks)
        keys[layer], bare = KEYS[row.keys].average(each, contexts), each[::contexts]  # (n, v)
        reference = REFERENCES[row.reference](
            reference, hidden[::contexts], partial(values_of, lm, layer, bare)
        )  # (n, u)
        shares = (z.to(hidden) - reference) * (share(recipe, place) / gain)  # (n, u)
        white = whitened(keys[layer], preconditioners[layer])  # (v, n)
        self_response = self_responses(recipe, keys[layer], bare, preconditioners[layer])  # (n,)
        residuals[layer] = compensated_residuals(shares, self_response, recipe.compensation)
        delivered = recipe.delivery_factor * (
            residuals[layer] * self_response.to(shares)[:, None]
        )  # (n, u)
        response = _context_response(whitened(each, preconditioners[layer]), white, contexts)
        repeated = delivered.repeat_interleave(contexts, dim=0)  # (n * contexts, u)
        hooks[layer] = injecting(repeated * response[:, None].to(repeated), flat)
    return [
        (
            {layer: keys[layer][index] for layer in layers},
            {layer: residuals[layer][index] for layer in layers},
        )
        for index in range(len(rows))
    ]


def values_of(lm: LanguageModel, layer: int, keys: Tensor) -> Tensor:
    """What the down projection of a layer gives for keys (n, v): (n, u), in their dtype."""
    module = lm.down_proj(layer)
    with torch.no_grad():
        values: Tensor = module(keys.to(lm.weight(layer).dtype))
    return values.to(keys)


def share(recipe: LocatedRecipe, place: int) -> float:
    """The part of what is still missing that the layer at ``place`` in ``layers`` takes on.

    ``even``: 1 / (layers left), MEMIT's; ``root``: 1 / sqrt(layers left), PMET's.
    """
    left = len(recipe.layers) - place
    return SHARES[recipe.row.spread](left)


def compensated_residuals(shares: Tensor, self_response: Tensor, compensation: float) -> Tensor:
    """Residuals (n, u) for shares (n, u), of which one edit alone gets ``self_response`` (n,).

    Ridge regression of one edit returns ``r q / (1 + q)``, with its leverage ``q = k^T A^-1 k`` and
    ``A = lambda C``; ``self_response`` has the q / (1 + q), or what it is for another solver. With
    a ``compensation`` of 1, ``r = s (1 + q) / q``: the equality constraint of ROME, met by every
    edit that is alone, in the batch of MEMIT. With 0, ``r = s``: MEMIT as published. Not finite
    where q is zero and something is to be made up for: there is no such r.
    """
    return shares / self_response.to(shares)[:, None] ** compensation


def uncompensate(residuals: Tensor, self_response: Tensor, compensation: float) -> Tensor:
    """The shares (n, u) of residuals (n, u): the inverse of :func:`compensated_residuals`."""
    return residuals * self_response.to(residuals)[:, None] ** compensation


def whitened(keys: Tensor, preconditioner: Preconditioner) -> Tensor:
    """Keys (n, v) as columns in float64 on the CPU, whitened: (v, n)."""
    return preconditioner.apply_left(as_columns(keys))


def _context_response(each: Tensor, white: Tensor, contexts: int) -> Tensor:
    """``a`` (n * contexts,) of every context's key: ``each`` (v, n * contexts), ``white`` (v, n).

    Both are whitened; ``a`` is how much of an edit made for the averaged key a context's key gets.
    """
    together = (white.repeat_interleave(contexts, dim=1) * each).sum(dim=0)  # (n * contexts,)
    # A key that the preconditioner leaves nothing of (AlphaEdit) gets nothing.
    return together / leverage(white).repeat_interleave(contexts).clamp_min(1e-300)
