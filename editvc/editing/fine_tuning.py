"""Fine-tuning one down projection on one fact: ``ft``, and ``ft-c`` within a bound.

Adam minimises the target's negative log likelihood after the prompt (mean over its tokens) over
the weight W (u, v) of one layer alone. It ends when the loss is below 0.01, or after ``num_steps``
steps. With a bound ``e``, every step is followed by the projection onto

    |W' - W|_inf <= e

so that no single weight moves further than that; e may be given in units of the weights' size, the
root of the mean of their squares (``relative_constraint``), for weights differ from model to model
(Zhu et al. 2020, Modifying Memories in Transformer Models, arXiv 2012.00363, equation 1 in its
L-infinity form; the numbers are those of the baselines FT and FT-L of Meng et al. 2022, arXiv
2202.05262). ROME's code for these baselines predicts every
target token from the prompt's last one; here each is predicted after those before it, as it is
when the model is asked.

Blocks below the layer see nothing of its weight: they run once, and so do the keys. A step runs the
rest of the layer's block and the blocks above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored, rank_for
from editvc.algebra.patch import Patch
from editvc.core.edit_site import EditSite
from editvc.core.facts import Request
from editvc.core.methods.fine_tuning import FineTuningRecipe
from editvc.core.progress import Progress
from editvc.editing.resources import Resources
from editvc.models.language_model import LanguageModel
from editvc.models.offload import resident_weight
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import prepare_replay
from editvc.models.tokenization import TokenizedPrompt, tokenize

LOSS_THRESHOLD = 1e-2
"""Below it a fact counts as learnt, as in ROME's and EasyEdit's code."""


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: FineTuningRecipe,
    _resources: Resources,
    progress: Progress | None,
) -> list[Patch]:
    """:func:`fine_tune`, which needs nothing of the repository."""
    return fine_tune(lm, requests, recipe, progress=progress)


def fine_tune(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: FineTuningRecipe,
    *,
    progress: Progress | None = None,
) -> list[Patch]:
    """One patch for every request, each from the model as it is. The model is left untouched.

    What Adam finds has full rank. Stored are the factors that keep ``recipe.energy`` of its squared
    norm: ``error`` among the figures is their relative Frobenius error, ``largest`` the largest
    entry of what is stored. For ft-c that may lie above the bound, which holds before the cut, and
    after it only up to the error. ``loss`` and ``steps`` are those of the search;
    ``base_probability`` and ``probability`` of the target (geometric mean over its tokens) are the
    model's own and that with what is stored.

    Raises the errors of :mod:`editvc.models.tokenization` and
    :class:`editvc.models.replay.ReplayError`.
    """
    rows = [row for (row,) in tokenize(lm.tokenizer, requests)]
    patches: list[Patch] = []
    with lm.eval_mode():
        for row in rows:
            patches.append(_tuned(_Rest(lm, row, recipe.layers[0]), recipe))
            if progress is not None:
                progress("fine-tuning", len(patches), len(rows))
    return patches


class _Rest:
    """What of the model one layer's weight can change, for one row of tokens.

    ``weight`` is the layer's, as the module holds it, in float32 at least.
    """

    def __init__(self, lm: LanguageModel, row: TokenizedPrompt, layer: int) -> None:
        rows = [SplitTokens(row.ids[:-1], 0)]
        suffixes = prepare_replay(lm, rows, layer, EditSite.MLP_OUTPUT)
        assert suffixes.within is not None
        self.lm, self.layer = lm, layer
        self.module = lm.down_proj(layer)
        self.block, self.later = suffixes.within.call, suffixes.calls
        self.keys = self.block.input_of(self.module)  # (..., v)
        own = resident_weight(self.module, "weight")
        self.weight = own.to(torch.promote_types(own.dtype, torch.float32))
        self.first = row.target - 1
        self.target = torch.tensor(row.ids[row.target :], device=own.device)

    def loss(self, weight: Tensor) -> Tensor:
        """Mean negative log likelihood of the target's tokens under another weight."""
        rounded = weight.to(self.lm.weight(self.layer).dtype)
        output = functional_call(self.module, {"weight": rounded}, (self.keys,))  # (..., u)
        hidden = self.block.with_output_of(self.module, output)  # (1, columns, u)
        for call in self.later:
            hidden = call.run(hidden)  # (1, columns, u)
        normed = self.lm.final_norm(hidden[0, self.first :])  # (target tokens, u)
        return torch.nn.functional.cross_entropy(self.lm.logits(normed), self.target)


def _tuned(rest: _Rest, recipe: FineTuningRecipe) -> Patch:
    free = rest.weight.clone().requires_grad_()
    adam = torch.optim.Adam([free], lr=recipe.lr, weight_decay=recipe.weight_decay)
    bound = recipe.norm_constraint
    if recipe.relative_constraint:
        bound = recipe.relative_constraint * float(rest.weight.double().square().mean().sqrt())
    losses: list[float] = []
    steps = 0
    with torch.enable_grad():
        for _ in range(recipe.num_steps):
            loss = rest.loss(free)
            losses.append(float(loss.detach()))
            if losses[-1] < LOSS_THRESHOLD:
                break
            (free.grad,) = torch.autograd.grad(loss, free)
            adam.step()
            steps += 1
            if bound:
                with torch.no_grad():
                    free.clamp_(rest.weight - bound, rest.weight + bound)
    transposed = rest.lm.architecture.transposed
    change = (free.detach() - rest.weight).double()
    stored, error = cut_to_energy(change.T if transposed else change, recipe.energy)
    with torch.no_grad():
        dense = stored.dense()
        rounded = (dense.T if transposed else dense).to(rest.weight)
        after = float(rest.loss(rest.weight + rounded))
    figures = {
        "loss": losses[-1],
        "steps": float(steps),
        "base_probability": float(torch.tensor(-losses[0]).exp()),
        "probability": float(torch.tensor(-after).exp()),
        "error": error,
        "largest": float(dense.abs().max()),
    }
    return Patch(Delta({rest.layer: stored}), figures)


def cut_to_energy(change: Tensor, energy: float) -> tuple[Factored, float]:
    """The factors, on the CPU, that keep ``energy`` of a (u, v) change, and their relative error.

    ``P (P^T D)`` with P (u, r) the leading eigenvectors of ``D D^T``: Eckart-Young's matrix without
    a singular value decomposition of D.
    """
    norm = torch.linalg.vector_norm(change)
    if not norm:
        return Factored.zero(*change.shape), 0.0
    squares, vectors = torch.linalg.eigh(change @ change.T)
    kept = rank_for(squares.flip(0).clamp_min(0).sqrt(), energy=energy)
    left = vectors.flip(1)[:, :kept].contiguous()
    right = left.T @ change
    error = torch.linalg.vector_norm(change - left @ right) / norm
    return Factored(left.cpu(), right.cpu()), float(error)
