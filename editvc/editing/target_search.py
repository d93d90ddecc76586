"""Targets z: which hidden state makes the model say the new object (MEMIT, section 4.3).

For one edit, delta (u,) is added to the output of block L at the subject's last token, and Adam
minimises

    mean over contexts of NLL(target | context + prompt)              (mean over target tokens)
    + kl_factor * KL(edited || base) of the next tokens after the subject   (mean over held tokens)
    + v_weight_decay * |delta| / |h|^2

with |delta| held to clamp_norm_factor * |h|; h is the base's hidden state there, in the first
context. It ends when the loss falls below v_loss_threshold, or after v_num_grad_steps evaluations
(so one step fewer is taken). MEMIT holds one token, that behind the subject in "{subject} is a".
The order of the KL's arguments and its place, the subject's last token rather than the prompt's,
are those of its published code; the words "is a" therefore change nothing but how that token is
cut. Gated edits hold a text through (:mod:`.held_texts`).

ROME's targets are for the output of the down projection itself, and so is h; so it is for every
method where a norm stands behind the down projection of a family
(:meth:`editvc.models.architectures.Architecture.within_block`). PMET searches for a second vector,
added to the attention's output, with a decay and a limit of its own, and keeps the first.

With a ``shaping`` B (u, u) the search runs over y with ``delta = B y``, and |y| takes the place of
|delta| in the decay and the limit: directions in which the model is sensitive get short steps.

Many edits run in one batch: rows are (edit, context) pairs, in groups of similar length
(:mod:`.row_groups`), one optimiser step serves all, an edit that has ended is frozen and its rows
are dropped. Edits share no number but the step count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.editing.edit_batches import MEMORY, TokenizedEdit, search_batches, tokenize_edits
from editvc.editing.held_texts import HeldTexts
from editvc.editing.row_groups import row_groups
from editvc.editing.subject_states import average_over_contexts, edit_site
from editvc.models.language_model import LanguageModel

_DROP_BELOW = 0.95


@dataclass(frozen=True, slots=True)
class Target:
    """What was found for one edit.

    ``delta`` (u,) and ``hidden`` (u,) add up to z; ``keys`` are the base's keys (v,) by layer,
    averaged over the contexts (:func:`.subject_states.average_over_contexts`). ``figures``: loss,
    steps, and base_probability and probability of the target (geometric mean over its tokens, mean
    over contexts).
    """

    delta: Tensor  # (u,)
    hidden: Tensor  # (u,)
    keys: dict[int, Tensor]  # (v,) each
    figures: dict[str, float]

    @property
    def z(self) -> Tensor:
        """The target (u,): the hidden state after block L that says the new object."""
        return self.hidden + self.delta


def find_targets(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    *,
    shaping: Tensor | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Target]:
    """One target for every request, on the model as it is. The model is left untouched.

    ``shaping`` (u, u) is that of :func:`editvc.algebra.sensitivity.shaping`; without it,
    MEMIT's.

    ``memory`` bounds a batch in bytes; it changes speed, and results by float rounding only.
    Raises the errors of :mod:`editvc.models.tokenization`,
    :class:`editvc.models.architectures.LayersError` and
    :class:`editvc.models.replay.ReplayError`.
    """
    edits = tokenize_edits(lm.tokenizer, requests, recipe.contexts)
    return search_targets(lm, edits, recipe, shaping=shaping, memory=memory, progress=progress)


def search_targets(
    lm: LanguageModel,
    edits: Sequence[TokenizedEdit],
    recipe: LocatedRecipe | GatedRecipe,
    *,
    shaping: Tensor | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
    turns: int = 1,
) -> list[Target]:
    """:func:`find_targets` for edits that are tokens already.

    ``turns`` is in how many steps all rows of an edit are asked once: with more than one, a step
    goes by some of them only, and an edit ends by the worst of its last turns. Of the recipe, only
    the numbers of the search and the last layer count.
    """
    lm.architecture.require_editable(recipe.layers)
    order = sorted(
        range(len(edits)), key=lambda i: (edits[i].suffix_columns, edits[i].prefix_columns, i)
    )
    targets: dict[int, Target] = {}
    with lm.eval_mode():
        for batch in search_batches([edits[i] for i in order], lm, memory, turns):
            chosen = order[len(targets) : len(targets) + len(batch)]
            searched = _Batch(lm, batch, recipe, shaping, turns).run(progress)
            targets.update(zip(chosen, searched, strict=True))
            if progress is not None:
                progress("targets", len(targets), len(edits))
    return [targets[index] for index in range(len(edits))]


def anchored(delta: Tensor, hidden: Tensor, share: float) -> Tensor:
    """The delta (u,) of a target ``z = h + delta`` brought back, by ``share``, to the length of h.

    1 gives ``z |h| / |z| - h``: Norm-Anchor Scaling (Liu et al. 2026, arXiv 2602.02543), with the
    edit's own hidden state on the base for its anchor. 0 leaves the target as it was found.
    """
    z = hidden + delta  # (u,)
    scale = hidden.norm() / z.norm().clamp_min(torch.finfo(z.dtype).tiny)
    moved: Tensor = delta + share * (scale - 1) * z  # (u,)
    return moved


class _Batch:
    """Edits optimised together. ``live`` are the places of those whose rows are still run.

    A target has one part, or two where attention is moved as well.
    """

    def __init__(
        self,
        lm: LanguageModel,
        edits: Sequence[TokenizedEdit],
        recipe: LocatedRecipe | GatedRecipe,
        shaping: Tensor | None,
        turns: int,
    ) -> None:
        self.lm, self.recipe = lm, recipe
        self.turns = min([turns, *(len(edit.rows) for edit in edits)])
        layer, site = recipe.layers[-1], edit_site(recipe)
        self.groups = row_groups(lm, edits, layer, site, recipe.layers, self.turns)
        device = self.groups[0].suffixes.hidden.device
        self.held = HeldTexts.of(lm, edits, layer, site) if recipe.kl_factor else None
        self.live = torch.arange(len(edits), device=device)  # (live,)
        counts = [len(edit.rows) for edit in edits]
        work = torch.promote_types(self.groups[0].suffixes.hidden.dtype, torch.float32)
        unedited = self._by_row([group.suffixes.unedited for group in self.groups]).to(work)
        firsts = [0, *accumulate(counts[:-1])]
        self.hidden = unedited[firsts]  # (n, parts, u)
        self.norms = self.hidden.norm(dim=2)  # (n, parts)
        self.losses = self.norms.new_full((self.turns, len(edits)), math.inf)
        self.shaping = None if shaping is None else shaping.to(device, work)  # (u, u)
        self.keys = {}
        for edited in recipe.layers:
            keys = self._by_row([group.suffixes.keys[edited] for group in self.groups]).to(work)
            of_edit = keys.split_with_sizes(counts)
            self.keys[edited] = torch.cat(
                [average_over_contexts(one, len(one)) for one in of_edit]
            )  # (n, v)

    def _by_row(self, parts: Sequence[Tensor]) -> Tensor:
        """What the groups have of their rows, in the order of all rows."""
        places = torch.cat([group.place for group in self.groups])
        return torch.cat([*parts])[places.argsort().to(parts[0].device)]

    def run(self, progress: Progress | None = None) -> list[Target]:
        """Optimise to the end of the last edit."""
        recipe = self.recipe
        free = torch.zeros_like(self.hidden, requires_grad=True)  # (n, parts, u)
        adam = torch.optim.Adam([free], lr=recipe.v_lr)
        limit = recipe.clamp_norm_factor * self.norms  # (n, parts)
        count = len(self.norms)
        targets: list[Target | None] = [None] * count
        ended = torch.zeros(count, dtype=torch.bool, device=free.device)  # (n,)
        before = torch.zeros(count, device=free.device)  # (n,)
        for step in range(recipe.v_num_grad_steps):
            if progress is not None:
                progress("steps", step, recipe.v_num_grad_steps)
            loss, probability = self._loss(free, step % self.turns)  # (live,) each
            if step == 0:
                before = probability
            last = step == recipe.v_num_grad_steps - 1
            stop = self._worst(loss.detach(), step) < recipe.v_loss_threshold  # (live,)
            stop |= last
            for place, edit in enumerate(self.live.tolist()):
                if stop[place] and not ended[edit]:
                    figures = {
                        "loss": float(loss[place].detach()),
                        "steps": float(step),
                        "base_probability": float(before[edit]),
                        "probability": float(probability[place]),
                    }
                    targets[edit] = self._target(edit, free, figures)
            ended[self.live] |= stop
            if ended.all():
                break
            (free.grad,) = torch.autograd.grad(loss.sum(), free)
            adam.step()
            with torch.no_grad():
                norm = free.norm(dim=2)  # (n, parts)
                free *= torch.where(norm > limit, limit / norm, torch.ones_like(norm))[..., None]
            self._drop(ended)
        return [target for target in targets if target is not None]

    def _worst(self, loss: Tensor, step: int) -> Tensor:
        """The worst loss of every live edit (live,) in its last turns; none before it had all."""
        self.losses[step % self.turns, self.live] = loss
        worst: Tensor = self.losses[:, self.live].amax(dim=0)
        return worst

    def _delta(self, free: Tensor) -> Tensor:
        """What is added to the hidden states, (n, parts, u), for free variables of that shape."""
        return free if self.shaping is None else free @ self.shaping.T

    def _loss(self, free: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Loss and target probability of every live edit in one turn, ``(live,)`` each."""
        variables = free[self.live]  # (live, parts, u)
        delta = self._delta(variables)  # (live, parts, u)
        nll = torch.zeros(len(self.live), dtype=delta.dtype, device=delta.device)  # (live,)
        likely, counts = torch.zeros_like(nll), torch.zeros_like(nll)  # (live,) each
        for group in self.groups:
            if group.turn == turn:
                each = group.losses(self.lm, self.recipe.layers[-1], delta).to(nll.dtype)  # (rows,)
                nll = nll.index_add(0, group.edit, each)
                likely.index_add_(0, group.edit, torch.exp(-each.detach()))
                counts.index_add_(0, group.edit, torch.ones_like(each))
        lengths = variables.norm(dim=2) / self.norms[self.live] ** 2  # (live, parts)
        decay = self.recipe.v_weight_decay * lengths.sum(dim=1)  # (live,)
        loss = nll / counts + decay
        if self.held is not None and turn == self.turns - 1:
            weight = self.turns * self.recipe.kl_factor  # as much as it would be in every turn
            loss = loss + weight * self.held.divergence(self.lm, delta)
        return loss, likely / counts

    def _target(self, edit: int, free: Tensor, figures: dict[str, float]) -> Target:
        hidden = self.hidden[edit, 0]  # (u,)
        delta = self._delta(free[edit].detach().clone())[0]  # (u,)
        return Target(
            anchored(delta, hidden, self.recipe.norm_anchor),
            hidden,
            {layer: keys[edit] for layer, keys in self.keys.items()},
            figures,
        )

    def _drop(self, ended: Tensor) -> None:
        """Leave the rows of ended edits out, once enough of them have gathered."""
        kept = (~ended[self.live]).nonzero()[:, 0]
        if len(kept) > _DROP_BELOW * len(self.live):
            return
        picked = (group.of_edits(kept, len(self.live)) for group in self.groups)
        self.groups = [group for group in picked if group is not None]
        if self.held is not None:
            self.held = self.held.of_edits(kept, len(self.live))
        self.live = self.live[kept]
