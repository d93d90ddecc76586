"""How much of a located edit reaches named things that it is not about: no pass for a pair.

Alone, an edit with the key k changes the output at another key k' by ``r (k^T A^-1 k')`` times a
number that is the same for all k'. So of what it changes at its own key it changes the share

    k^T A^-1 k' / k^T A^-1 k

there (A being lambda C), which the keys tell alone, however the residual comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editvc.algebra.preconditioners import Preconditioner
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.layer_spread import whitened
from editvc.editing.subject_states import average_over_contexts
from editvc.models.forward import batches, keys_at
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import filled, subject_tokens, tokenize


def name_responses(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
    names: Sequence[str],
    context: str,
) -> Tensor:
    """The share (n, names) of each edit that reaches each name, in the mean over the layers.

    Names are seen at their last token, in ``context``. Raises the errors of
    :mod:`editvc.models.tokenization`.
    """
    rows = [row for each in tokenize(lm.tokenizer, requests, recipe.contexts) for row in each]
    own = _keys_at_ends(lm, [row.ids[: row.subject + 1] for row in rows], recipe.layers)
    placed = subject_tokens(lm.tokenizer, [filled(context, name) for name in names])
    of_names = _keys_at_ends(lm, [row.ids[: row.subject + 1] for row in placed], recipe.layers)
    total = torch.zeros(len(requests), len(names), dtype=torch.float64)
    for layer in recipe.layers:
        keys = average_over_contexts(own[layer], len(recipe.contexts))  # (n, v)
        q = whitened(keys, preconditioners[layer])  # (m, n)
        functional = preconditioners[layer].apply_right(q.T)  # (n, v)
        leverage = q.square().sum(dim=0).clamp_min(torch.finfo(q.dtype).tiny)  # (n,)
        total += functional @ of_names[layer].double().T / leverage[:, None]
    return total / len(recipe.layers)


def _keys_at_ends(
    lm: LanguageModel, rows: Sequence[tuple[int, ...]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """The keys of each row's last token, by layer: (rows, v), on the CPU."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for batch in batches(order, lambda place: len(rows[place])):
        cut = [rows[place] for place in batch]
        ends = [range(len(row) - 1, len(row)) for row in cut]
        for layer, keys in keys_at(lm, cut, ends, layers).items():
            found[layer].append(keys.cpu())
    back = torch.tensor(order).argsort()
    return {layer: torch.cat(parts)[back] for layer, parts in found.items()}
