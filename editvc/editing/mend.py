"""MEND: a trained network turns the gradient of one fact into a change of the weights.

The gradient of a loss with respect to a matrix W (u, v) of an MLP is a sum over tokens,
``sum_t delta_t k_t^T``: k_t (v,) is what the matrix is given at token t, delta_t (u,) the gradient
at what it gives. The editor maps every pair to a pseudo pair and the change of a matrix is

    Delta_W = -alpha_W sum_t d~_t k~_t^T,      (k~_t, d~_t) = g_W(normed(k_t), normed(delta_t))

with g two residual blocks of low rank that matrices of one shape share, each matrix with a scale
and an offset of its own (equations 2 to 4 of the paper), alpha_W a learned learning rate. The means
and deviations that pairs are normed by are those of the editor's training set. An untrained
editor's g is the identity: a step of gradient descent on normed pairs.

All matrices of the MLPs are edited, or the down projections alone: the editor says which. All
gradients of an edit are taken at once, from the model as it is.

Mitchell et al. 2022, Fast Model Editing at Scale, arXiv 2110.11309.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.patch import Patch
from editvc.core.facts import Request
from editvc.core.methods.mend import MendRecipe
from editvc.core.progress import Progress
from editvc.editing.mend_editor import Editor, EditorError, Matrix, Pairs
from editvc.editing.resources import Resources
from editvc.models.architectures import Architecture
from editvc.models.forward import final_states, target_losses
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a batch of facts asks of each matrix.

    ``pairs`` are keys (rows, columns, v) and deltas (rows, columns, u), both zero where a row is
    padded. ``losses`` (rows,) is the mean negative log likelihood of each target's tokens.
    """

    pairs: Mapping[Matrix, Pairs]
    mask: Tensor
    losses: Tensor


def gradients(
    lm: LanguageModel, rows: Sequence[TokenizedPrompt], matrices: Sequence[Matrix]
) -> Gradients:
    """Keys and output gradients of the loss of every row alone, at all its tokens but the last."""
    columns = max(len(row.ids) for row in rows) - 1
    keys: dict[Matrix, Tensor] = {}
    probes: dict[Matrix, Tensor] = {}

    def hook(matrix: Matrix) -> Callable[..., Tensor]:
        def probe(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            keys[matrix] = args[0].detach().reshape(len(rows), columns, -1)  # (rows, columns, v)
            probes[matrix] = torch.zeros_like(output, requires_grad=True)
            return output + probes[matrix]

        return probe

    with lm.eval_mode() as handles, torch.enable_grad():
        for matrix in matrices:
            handles.append(lm.mlp_matrix(*matrix).register_forward_hook(hook(matrix)))
        hidden, mask = final_states(lm, [row.ids[:-1] for row in rows])
        losses = target_losses(lm, hidden, rows)
        deltas = torch.autograd.grad(losses.sum(), [probes[matrix] for matrix in matrices])
    seen = mask[..., None].bool()  # (rows, columns, 1)
    pairs = {
        matrix: (keys[matrix] * seen, delta.reshape(len(rows), columns, -1) * seen)
        for matrix, delta in zip(matrices, deltas, strict=True)
    }
    return Gradients(pairs, mask, losses.detach())


@contextmanager
def changed(lm: LanguageModel, changes: Mapping[Matrix, Pairs]) -> Iterator[None]:
    """The model with a change of its own for every row of a batch, and no weight touched.

    ``changes`` by matrix: right (rows, t, v) and left (rows, t, u). Where a matrix is given x
    (rows, columns, v) it gives ``(x right^T) left`` more: differentiable in both factors.
    """

    def hook(right: Tensor, left: Tensor) -> Callable[..., Tensor]:
        def add(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            x: Tensor = args[0].reshape(right.shape[0], -1, right.shape[-1])  # (rows, columns, v)
            added = x @ right.transpose(1, 2) @ left  # (rows, columns, u)
            return output + added.reshape(output.shape)

        return add

    with lm.eval_mode() as handles:
        for matrix, (right, left) in changes.items():
            handles.append(lm.mlp_matrix(*matrix).register_forward_hook(hook(right, left)))
        yield


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: MendRecipe,
    resources: Resources,
    progress: Progress | None,
) -> list[Patch]:
    """:func:`edit`, by the editor that the recipe names."""
    return edit(lm, requests, recipe, resources.editor(recipe), progress=progress)


def edit(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: MendRecipe,
    editor: Editor,
    *,
    progress: Progress | None = None,
) -> list[Patch]:
    """One patch for every request, each made on the model as it is; no weight is touched.

    The rank of a patch is at most the number of tokens of question and target. Figures: ``loss``
    and ``loss_after``, mean negative log likelihood (nats) of the target's tokens before and with
    the patch. Raises :class:`EditorError` for an editor of other layers, matrices or sizes, and the
    errors of :mod:`editvc.models.tokenization`.
    """
    _require_fit(lm, recipe, editor)
    patches = []
    for (row,) in tokenize(lm.tokenizer, requests):
        patches.append(_edit_one(lm, row, recipe, editor))
        if progress is not None:
            progress("edits", len(patches), len(requests))
    return patches


def _edit_one(lm: LanguageModel, row: TokenizedPrompt, recipe: MendRecipe, editor: Editor) -> Patch:
    """Alone in its batch, so that its bytes do not depend on the company it came in."""
    of_row = gradients(lm, [row], editor.matrices)
    with torch.no_grad():
        changes = {}
        for matrix, pairs in of_row.pairs.items():
            right, left = editor.change(matrix, *pairs)
            changes[matrix] = (right, left * recipe.lr_scale)
        with changed(lm, changes):
            hidden, _ = final_states(lm, [row.ids[:-1]])
        after = target_losses(lm, hidden, [row])
    parts = {
        matrix: _compact(left[0].double().cpu(), right[0].double().cpu())
        for matrix, (right, left) in changes.items()
    }
    figures = {"loss": float(of_row.losses), "loss_after": float(after), "error": 0.0}
    return Patch(delta_of(lm.architecture, parts), figures)


def delta_of(architecture: Architecture, parts: Mapping[Matrix, Factored]) -> Delta:
    """Down projections by layer, and the others by name, in the orientation the model keeps."""
    layers, weights = {}, {}
    for (layer, part), factored in parts.items():
        if part == "down":
            layers[layer] = factored
            continue
        name, _ = architecture.mlp_names(layer, architecture.mlp_matrices[part])
        weights[name] = factored.transposed() if architecture.inverted(name) else factored
    return Delta(layers, weights)


def _compact(left: Tensor, right: Tensor) -> Factored:
    """``left^T right`` of (t, u) and (t, v) at its numerical rank, as float32 would see it."""
    whole = Factored(left.T.contiguous(), right.contiguous())
    _, values, _ = whole.svd()
    floor = values.max() * torch.finfo(torch.float32).eps if len(values) else 0.0
    return whole.compress(rank=int((values > floor).sum()))


def _require_fit(lm: LanguageModel, recipe: MendRecipe, editor: Editor) -> None:
    if recipe.layers != editor.layers:
        raise EditorError(
            f"the editor is for layers {list(editor.layers)}, the recipe for {list(recipe.layers)}",
            hint="Leave layers out, or train one: `editvc train mend FILE --layers "
            + ",".join(map(str, recipe.layers))
            + "`.",
        )
    cure = "Train one for this model: `editvc train mend FILE`."
    there = lm.architecture.mlp_matrices
    if missing := [part for part in editor.parts if part not in there]:
        raise EditorError(
            f"the editor is for {_listed(editor.parts)} projections, "
            f"this model has no {_listed(missing)} projection",
            hint=cure,
        )
    for matrix in editor.matrices:
        taken = editor.pair_size(matrix)
        size = sum(lm.mlp_matrix(*matrix).get_parameter("weight").shape)
        if taken != size:
            raise EditorError(
                f"the editor takes pairs of {taken} numbers, this model has {size}", hint=cure
            )


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts)
