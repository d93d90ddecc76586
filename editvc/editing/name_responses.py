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
from editvc.models.forward import keys_at_ends
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import filled, subject_tokens, tokenize

AT_ONCE = 512
"""Names whose keys are held at once: those of thousands of names would weigh more than a model."""


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
    own = keys_at_ends(lm, [row.ids[: row.subject + 1] for row in rows], recipe.layers)
    functionals, leverages = {}, {}
    for layer in recipe.layers:
        keys = average_over_contexts(own[layer], len(recipe.contexts))  # (n, v)
        q = whitened(keys, preconditioners[layer])  # (m, n)
        functionals[layer] = preconditioners[layer].apply_right(q.T)  # (n, v)
        leverages[layer] = q.square().sum(dim=0).clamp_min(torch.finfo(q.dtype).tiny)  # (n,)
    placed = subject_tokens(lm.tokenizer, [filled(context, name) for name in names])
    cut = [row.ids[: row.subject + 1] for row in placed]
    parts = []
    for start in range(0, len(cut), AT_ONCE):
        of_names = keys_at_ends(lm, cut[start : start + AT_ONCE], recipe.layers)
        shares = [
            functionals[layer] @ of_names[layer].T / leverages[layer][:, None]
            for layer in recipe.layers
        ]  # (n, names) each
        parts.append(torch.stack(shares).mean(dim=0))
    return torch.cat(parts, dim=1) if parts else torch.zeros(len(requests), 0).double()
