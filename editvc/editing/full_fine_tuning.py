"""Fine-tuning every weight on one fact: ``ft-full``, the baseline FT of AdaPLE's tables.

Adam minimises the target's negative log likelihood after the prompt (mean over its tokens) over all
parameters of the model at once, embeddings and norms with them. It ends as ``ft`` does. A step runs
the whole model, forward and back, and takes four times its memory beside it: a baseline for models
that are small enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.patch import Patch
from editvc.core.facts import Request
from editvc.core.methods.full_fine_tuning import FullFineTuningRecipe
from editvc.core.progress import Progress
from editvc.editing.fine_tuning import LOSS_THRESHOLD, cut_to_energy
from editvc.editing.resources import Resources
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize

Weights = Mapping[str, Tensor]
"""Parameters by the names that the model has for them; of tied ones, the first."""


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: FullFineTuningRecipe,
    _resources: Resources,
    progress: Progress | None,
) -> list[Patch]:
    """One patch for every request, each from the model as it is. The model is left untouched.

    Figures are those of ``ft``: ``loss`` and ``steps`` of the search, ``base_probability`` and
    ``probability`` of the target as it is and with what is stored, ``error`` the relative Frobenius
    error of that over all weights, ``largest`` its largest entry. Raises the errors of
    :mod:`editvc.models.tokenization`.
    """
    patches: list[Patch] = []
    with lm.eval_mode():
        for (row,) in tokenize(lm.tokenizer, requests):
            patches.append(_tuned(lm, row, recipe))
            if progress is not None:
                progress("fine-tuning", len(patches), len(requests))
    return patches


def _tuned(lm: LanguageModel, row: TokenizedPrompt, recipe: FullFineTuningRecipe) -> Patch:
    begun = _trainable(lm, recipe.layers)
    free = {name: weight.clone().requires_grad_() for name, weight in begun.items()}
    adam = torch.optim.Adam([*free.values()], lr=recipe.lr, weight_decay=recipe.weight_decay)
    losses: list[float] = []
    steps = 0
    with torch.enable_grad():
        for _ in range(recipe.num_steps):
            loss = _loss(lm, row, free)
            losses.append(float(loss.detach()))
            if losses[-1] < LOSS_THRESHOLD:
                break
            slopes = torch.autograd.grad(loss, [*free.values()], allow_unused=True)
            for parameter, slope in zip(free.values(), slopes, strict=True):
                parameter.grad = slope
            adam.step()
            steps += 1
    changes = {name: (free[name].detach() - begun[name]).double() for name in free}
    stored = {name: _stored(change, recipe.energy) for name, change in changes.items()}
    dense = {name: part.dense().reshape(changes[name].shape) for name, part in stored.items()}
    with torch.no_grad():
        after = float(_loss(lm, row, {name: begun[name] + dense[name].to(begun[name])
                                      for name in dense}))  # fmt: skip
    whole = _norm(changes)
    missing = _norm({name: changes[name].cpu() - dense[name] for name in dense})
    figures = {
        "loss": losses[-1],
        "steps": float(steps),
        "base_probability": float(torch.tensor(-losses[0]).exp()),
        "probability": float(torch.tensor(-after).exp()),
        "error": missing / whole if whole else 0.0,
        "largest": max(float(change.abs().max()) for change in dense.values()),
    }
    return Patch(_delta(lm, stored), figures)


def _trainable(lm: LanguageModel, layers: Sequence[int]) -> Weights:
    """Copies in float32 at least of all parameters but those of blocks that are not named."""
    others = {
        id(parameter)
        for layer in range(lm.depth)
        if layer not in layers
        for parameter in lm.block(layer).parameters()
    }
    return {
        name: parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32))
        for name, parameter in lm.model.named_parameters()
        if id(parameter) not in others
    }


def _loss(lm: LanguageModel, row: TokenizedPrompt, weights: Weights) -> Tensor:
    """Mean negative log likelihood of the target's tokens under other weights."""
    own = dict(lm.model.named_parameters())
    rounded = {name: weight.to(own[name].dtype) for name, weight in weights.items()}
    ids = torch.tensor([row.ids], device=lm.device)
    output = functional_call(
        lm.model, rounded, kwargs={"input_ids": ids[:, :-1], "use_cache": False}
    )
    return torch.nn.functional.cross_entropy(
        output.logits[0, row.target - 1 :], ids[0, row.target :]
    )


def _stored(change: Tensor, energy: float) -> Factored:
    """The factors of one weight's change; a vector of n numbers is (n, 1)."""
    matrix = change if change.ndim == 2 else change.reshape(len(change), -1)
    if matrix.shape[0] <= matrix.shape[1]:
        return cut_to_energy(matrix, energy)[0]
    tall, _ = cut_to_energy(matrix.T.contiguous(), energy)
    return Factored(tall.right.T.contiguous(), tall.left.T.contiguous())


def _delta(lm: LanguageModel, stored: Mapping[str, Factored]) -> Delta:
    """Down projections by layer, as (u, v), and all else by name."""
    layer_of = {lm.architecture.weight_name(layer): layer for layer in range(lm.depth)}
    layers, weights = {}, {}
    for name, part in stored.items():
        if name not in layer_of:
            weights[name] = part
            continue
        turned = lm.architecture.transposed
        layers[layer_of[name]] = (
            Factored(part.right.T.contiguous(), part.left.T.contiguous()) if turned else part
        )
    return Delta(layers, weights)


def _norm(changes: Mapping[str, Tensor]) -> float:
    squares = [float(change.square().sum()) for change in changes.values()]
    return float(sum(squares) ** 0.5)
