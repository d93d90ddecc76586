"""UltraEdit's located edits: a key and an output gradient, both of one pass.

For a fact, the key h of a layer is the input of its down projection at the last token of the
prompt, and its residual the gradient of the target's negative log likelihood (mean over its tokens)
with respect to what the down projection gives there. Nothing is searched for and no subject is
needed; the solver makes values of the gradients of a whole set at once
(:func:`editvc.algebra.solvers.normalised`). Gu et al. 2025, UltraEdit, arXiv 2505.14679.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.located_edit import Located
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.models.forward import batches, final_states, target_losses
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize


def locate_by_gradient(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    *,
    progress: Progress | None = None,
) -> list[Located]:
    """Key (v,) and output gradient (u,) of every request in every layer of the recipe.

    The bare prompt is the only context. Raises the errors of :mod:`editvc.models.tokenization`.
    """
    rows = [row for (row,) in tokenize(lm.tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    located: dict[int, Located] = {}
    for batch in batches(order, lambda i: len(rows[i].ids)):
        located.update(zip(batch, _batch(lm, [rows[i] for i in batch], recipe), strict=True))
        if progress is not None:
            progress("gradients", len(located), len(rows))
    return [located[index] for index in range(len(rows))]


def _batch(
    lm: LanguageModel, rows: Sequence[TokenizedPrompt], recipe: LocatedRecipe
) -> list[Located]:
    device = lm.device
    columns = max(len(row.ids) for row in rows) - 1
    ends = torch.tensor([row.target - 1 for row in rows], device=device)
    index = torch.arange(len(rows), device=device)
    keys: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}

    def hook(layer: int) -> Callable[..., Tensor]:
        def catch(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            keys[layer] = args[0].detach().view(len(rows), columns, -1)[index, ends]
            moved = torch.zeros(
                len(rows), output.shape[-1], dtype=output.dtype, device=device, requires_grad=True
            )
            outputs[layer] = moved
            added = output.view(len(rows), columns, -1).index_put(
                (index, ends), moved, accumulate=True
            )
            return added.view(output.shape)

        return catch

    with lm.eval_mode() as handles, torch.enable_grad():
        for layer in recipe.layers:
            handles.append(lm.down_proj(layer).register_forward_hook(hook(layer)))
        hidden, _ = final_states(lm, [row.ids[:-1] for row in rows])  # (rows, columns, u)
        losses = target_losses(lm, hidden, rows)  # (rows,)
        parts = [outputs[layer] for layer in recipe.layers]
        gradients = dict(zip(recipe.layers, torch.autograd.grad(losses.sum(), parts), strict=True))
    nll = losses.detach().tolist()
    return [
        Located(
            {layer: keys[layer][i].float().cpu().clone() for layer in recipe.layers},
            {layer: gradients[layer][i].float().cpu().clone() for layer in recipe.layers},
            {"loss": nll[i], "base_probability": exp(-nll[i])},
        )
        for i in range(len(rows))
    ]
