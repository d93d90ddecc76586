"""Keys and hidden states at the ends of subjects, where lower layers act as if edited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from editvc.core.edit_site import EditSite
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.models.forward import padded_right
from editvc.models.hooks import StopForward, first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt

DownProjHooks = Mapping[int, Callable[..., Tensor]]
"""Forward hooks by layer: what makes a down projection behave as if its layer were edited."""


def edit_site(recipe: Recipe) -> EditSite:
    """What the targets of a recipe's method are states of."""
    site = recipe.row.edit_site
    assert site is not None, "this method searches for targets"
    return site


def subject_states(
    lm: LanguageModel,
    rows: Sequence[TokenizedPrompt],
    recipe: LocatedRecipe,
    layer: int,
    hooks: DownProjHooks,
) -> tuple[Tensor, Tensor]:
    """Key of ``layer`` (rows, v) and h of the last edited layer (rows, u) at the subjects' ends.

    h is what targets are for: the block's output, or what
    :meth:`editvc.models.language_model.LanguageModel.edited_module` says. In float32 at least. Runs
    no further than that block and no further right than the subject.
    """
    device = lm.device
    ids, mask = padded_right([row.ids[: row.subject + 1] for row in rows], device)
    ends = torch.tensor([row.subject for row in rows], device=device)  # (rows,)
    index = torch.arange(len(rows), device=device)  # (rows,)
    caught: dict[str, Tensor] = {}

    # OPT's MLPs are handed all tokens in one dimension, and give them so.
    def catch_key(_module: Any, args: tuple[Any, ...]) -> None:
        caught["key"] = _at(args[0].view(*ids.shape, -1), index, ends)  # (rows, v)

    def catch_hidden(_module: Any, _args: Any, output: Any) -> None:
        caught["hidden"] = _at(first_tensor(output).view(*ids.shape, -1), index, ends)  # (rows, u)
        raise StopForward

    with lm.eval_mode() as handles, torch.no_grad():
        for below, hook in hooks.items():
            handles.append(lm.down_proj(below).register_forward_hook(hook))
        handles.append(lm.down_proj(layer).register_forward_pre_hook(catch_key))
        edited = lm.edited_module(recipe.layers[-1], edit_site(recipe))
        handles.append(edited.register_forward_hook(catch_hidden))
        with suppress(StopForward):
            lm.body(input_ids=ids, attention_mask=mask, use_cache=False)
    work = torch.promote_types(caught["key"].dtype, torch.float32)
    return caught["key"].to(work), caught["hidden"].to(work)


def _at(states: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """States (rows, columns, d) at some places, (places, d)."""
    return states[row.to(states.device), column.to(states.device)]


def injecting(vectors: Tensor, rows: Sequence[TokenizedPrompt]) -> Callable[..., Tensor]:
    """A hook that adds vectors (rows, u) to a down projection's output at the subjects' ends."""
    ends = torch.tensor([row.subject for row in rows], device=vectors.device)
    index = torch.arange(len(rows), device=vectors.device)

    def hook(_module: Any, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        added = output.clone()
        by_row = added.view(len(rows), -1, output.shape[-1])  # (rows, columns, u)
        by_row[index.to(output.device), ends.to(output.device)] += vectors.to(output)
        return added

    return hook


def average_over_contexts(keys: Tensor, contexts: int) -> Tensor:
    """Keys (n * contexts, v) averaged to (n, v) as MEMIT does.

    The first context, the bare prompt, weighs as much as all others together.
    """
    each = keys.view(-1, contexts, keys.shape[-1])  # (n, contexts, v)
    if contexts == 1:
        return each[:, 0]
    return (each[:, 0] + each[:, 1:].mean(dim=1)) / 2


def as_columns(vectors: Tensor) -> Tensor:
    """Keys or residuals of a pass (n, d) as the algebra has them: (d, n), float64, on the CPU.

    A pass gives one row an edit, the equations of :mod:`editvc.algebra.solvers` take one column an
    edit; nowhere else in editing is one made into the other.
    """
    return vectors.T.double().cpu()
