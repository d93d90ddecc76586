"""Targets z: which hidden state makes the model say the new object (MEMIT, section 4.3).

For one edit, delta (u,) is added to the output of block L at the subject's last token, and Adam
minimises

    mean over contexts of NLL(target | context + prompt)              (mean over target tokens)
    + kl_factor * KL(edited || base) of the next token after the subject in "{subject} is a"
    + v_weight_decay * |delta| / |h|^2

with |delta| held to clamp_norm_factor * |h|; h is the base's hidden state there, in the first
context. It ends when the loss falls below v_loss_threshold, or after v_num_grad_steps evaluations
(so one step fewer is taken). The order of the KL's arguments and its place, the subject's last
token rather than the prompt's, are those of MEMIT's published code; the words "is a" after the
subject therefore change nothing but how its last token is cut.

ROME's targets are for the output of the down projection itself, and so is h; so it is for every
method where a norm stands behind the down projection of a family
(:meth:`editvc.models.architectures.Architecture.within`). PMET searches for a second vector, added
to the attention's output, with a decay and a limit of its own, and keeps the first.

With a ``shaping`` B (u, u) the search runs over y with ``delta = B y``, and |y| takes the place of
|delta| in the decay and the limit: directions in which the model is sensitive get short steps.

Many edits run in one batch: rows are (edit, context) pairs, one optimiser step serves all, an edit
that has ended is frozen and its rows are dropped. Edits share no number but the step count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.models.architectures import Architecture, architecture_in, inner_size
from editvc.models.head import logits_of
from editvc.models.hooks import only_at, undisturbed
from editvc.models.prefix_cache import Row
from editvc.models.replay import Tails, run_tails
from editvc.models.tokenization import Traced, subject_tokens, trace

MEMORY = 1 << 29
"""Bytes that one batch may take, by :func:`edit_bytes`'s estimate."""

_DROP_BELOW = 0.95
_BUSY = 96


@dataclass(frozen=True, slots=True)
class Target:
    """What was found for one edit.

    ``delta`` (u,) and ``hidden`` (u,) add up to z; ``keys`` are the base's keys (v,) by layer,
    averaged over the contexts (:func:`over_contexts`). ``figures``: loss, steps, and
    base_probability and probability of the target (geometric mean over its tokens, mean over
    contexts).
    """

    delta: Tensor
    hidden: Tensor
    keys: dict[int, Tensor]
    figures: dict[str, float]

    @property
    def z(self) -> Tensor:
        """The target (u,): the hidden state after block L that says the new object."""
        return self.hidden + self.delta


@dataclass(frozen=True, slots=True)
class Edit:
    """One request in tokens: a row a context, and the row of the KL term."""

    rows: tuple[Traced, ...]
    subject: Traced

    @property
    def tail(self) -> int:
        """Columns from the subject's last token to the last but one of the target."""
        return max(len(row.ids) - 1 - row.subject for row in self.rows)

    @property
    def prefix(self) -> int:
        """Columns before the subject's last token."""
        return max(row.subject for row in self.rows)


def find_targets(
    model: Any,
    tokenizer: Any,
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
    architecture = architecture_in(model)
    architecture.require_editable(recipe.layers)
    edits = trace_edits(tokenizer, requests, recipe)
    order = sorted(range(len(edits)), key=lambda i: (edits[i].tail, edits[i].prefix, i))
    found: dict[int, Target] = {}
    with undisturbed(model):
        for batch in batches([edits[i] for i in order], model.config, memory):
            chosen = order[len(found) : len(found) + len(batch)]
            results = _Batch(model, architecture, batch, recipe, shaping).run()
            found.update(zip(chosen, results, strict=True))
            if progress is not None:
                progress("targets", len(found), len(edits))
    return [found[index] for index in range(len(edits))]


def trace_edits(tokenizer: Any, requests: Sequence[Request], recipe: LocatedRecipe) -> list[Edit]:
    """All requests in tokens, in all contexts of the recipe."""
    rows = trace(tokenizer, requests, recipe.contexts)
    asked = [(f"{request.subject} is a", len(request.subject)) for request in requests]
    subjects = subject_tokens(tokenizer, asked)
    return [Edit(tuple(row), subject) for row, subject in zip(rows, subjects, strict=True)]


def over_contexts(keys: Tensor, contexts: int) -> Tensor:
    """Keys (n * contexts, v) averaged to (n, v) as MEMIT does.

    The first context, the bare prompt, weighs as much as all others together.
    """
    each = keys.view(-1, contexts, keys.shape[-1])
    if contexts == 1:
        return each[:, 0]
    return (each[:, 0] + each[:, 1:].mean(dim=1)) / 2


def anchored(delta: Tensor, hidden: Tensor, share: float) -> Tensor:
    """The delta (u,) of a target ``z = h + delta`` brought back, by ``share``, to the length of h.

    1 gives ``z |h| / |z| - h``: Norm-Anchor Scaling (Liu et al. 2026, arXiv 2602.02543), with the
    edit's own hidden state on the base for its anchor. 0 leaves the target as it was found.
    """
    z = hidden + delta
    scale = hidden.norm() / z.norm().clamp_min(torch.finfo(z.dtype).tiny)
    moved: Tensor = delta + share * (scale - 1) * z
    return moved


def edit_bytes(edit: Edit, config: Any) -> int:
    """Estimated peak memory of one edit in a batch, in bytes (float32).

    Activations kept for the backward pass through all blocks (about 10 u + 4 v numbers a token),
    the prefixes' keys and values, and logits with their gradient.
    """
    u, v, depth = config.hidden_size, inner_size(config), config.num_hidden_layers
    tokens = len(edit.rows) * edit.tail + 1
    prefix = len(edit.rows) * edit.prefix + edit.subject.subject
    predicted = sum(len(row.ids) - row.target for row in edit.rows) + 2
    numbers = depth * (tokens * (10 * u + 4 * v) + 2 * prefix * u)
    return 4 * int(numbers + 4 * predicted * config.vocab_size)


def batches(edits: Sequence[Edit], config: Any, memory: int) -> Iterator[list[Edit]]:
    """Consecutive edits, as many a batch as ``memory`` bytes hold, one at least.

    A batch with columns enough to keep the cores busy ends where the tails get longer: there the
    shorter ones would be padded, and padding costs as much as tokens do.
    """
    batch: list[Edit] = []
    largest = 0
    for edit in edits:
        largest = max(largest, edit_bytes(edit, config))
        if batch:
            busy = len(batch) * len(edit.rows) * batch[0].tail >= _BUSY
            longer = edit.tail > batch[0].tail
            if largest * (len(batch) + 1) > memory or (busy and longer):
                yield batch
                batch, largest = [], edit_bytes(edit, config)
        batch.append(edit)
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where target tokens are predicted: flat lists over ``row``, tail ``column``, ``token``."""

    row: Tensor
    column: Tensor
    token: Tensor
    weight: Tensor

    @classmethod
    def of(cls, rows: Sequence[Traced], device: Any) -> Wanted:
        """All target tokens of rows whose tails begin at ``subject``."""
        found = [
            (index, at - 1 - row.subject, row.ids[at], 1 / (len(row.ids) - row.target))
            for index, row in enumerate(rows)
            for at in range(row.target, len(row.ids))
        ]
        row, column, token, weight = zip(*found, strict=True)
        return cls(
            torch.tensor(row, device=device),
            torch.tensor(column, device=device),
            torch.tensor(token, device=device),
            torch.tensor(weight, dtype=torch.float64, device=device),
        )

    def pick(self, index: Tensor, rows: int) -> Wanted:
        """The same for a choice of ``rows``, in that order."""
        place = torch.full((rows,), -1, dtype=torch.long, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        row = place[self.row]
        kept = row >= 0
        return Wanted(row[kept], self.column[kept], self.token[kept], self.weight[kept])


class _Batch:
    """Edits optimised together. ``live`` are the places of those whose rows are still run."""

    def __init__(
        self,
        model: Any,
        architecture: Architecture,
        edits: Sequence[Edit],
        recipe: LocatedRecipe,
        shaping: Tensor | None,
    ) -> None:
        self.model, self.architecture, self.recipe = model, architecture, recipe
        self.contexts = len(recipe.contexts)
        rows = [row for edit in edits for row in edit.rows]
        layer = recipe.layers[-1]
        self.tails = run_tails(
            model,
            architecture,
            [Row(row.ids[:-1], row.subject) for row in rows],
            layer,
            recipe.row.target,
            recipe.layers,
        )
        device = self.tails.hidden.device
        self.wanted = Wanted.of(rows, device)
        self.subjects: Tails | None = None
        if recipe.kl_factor:
            self.subjects = run_tails(
                model,
                architecture,
                [Row(edit.subject.ids, edit.subject.subject) for edit in edits],
                layer,
                recipe.row.target,
            )
        self.base_log_probs: Tensor | None = None
        self.live = torch.arange(len(edits), device=device)
        work = torch.promote_types(self.tails.hidden.dtype, torch.float32)
        self.hidden = self.tails.aimed[:: self.contexts].to(work)
        self.norms = self.hidden.norm(dim=2)
        self.shaping = None if shaping is None else shaping.to(device, work)
        self.keys = {
            layer: over_contexts(keys.to(work), self.contexts)
            for layer, keys in self.tails.keys.items()
        }

    def run(self) -> list[Target]:
        """Optimise to the end of the last edit."""
        recipe = self.recipe
        free = torch.zeros_like(self.hidden, requires_grad=True)
        adam = torch.optim.Adam([free], lr=recipe.v_lr)
        limit = recipe.clamp_norm_factor * self.norms
        count = len(self.norms)
        found: list[Target | None] = [None] * count
        ended = torch.zeros(count, dtype=torch.bool, device=free.device)
        before = torch.zeros(count, device=free.device)
        for step in range(recipe.v_num_grad_steps):
            loss, probability = self._loss(free)
            if step == 0:
                before = probability
            last = step == recipe.v_num_grad_steps - 1
            stop = (loss.detach() < recipe.v_loss_threshold) | last
            for place, edit in enumerate(self.live.tolist()):
                if stop[place] and not ended[edit]:
                    figures = {
                        "loss": float(loss[place].detach()),
                        "steps": float(step),
                        "base_probability": float(before[edit]),
                        "probability": float(probability[place]),
                    }
                    found[edit] = self._target(edit, free, figures)
            ended[self.live] |= stop
            if ended.all():
                break
            (free.grad,) = torch.autograd.grad(loss.sum(), free)
            adam.step()
            with torch.no_grad():
                norm = free.norm(dim=2)
                free *= torch.where(norm > limit, limit / norm, torch.ones_like(norm))[..., None]
            self._drop(ended)
        return [target for target in found if target is not None]

    def _delta(self, free: Tensor) -> Tensor:
        """What is added to the hidden states, (n, parts, u), for free variables of that shape."""
        return free if self.shaping is None else free @ self.shaping.T

    def _loss(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and target probability of every live edit, ``(live,)`` each."""
        held = free[self.live]
        mine = self._delta(held)
        wanted = self.wanted
        last = self.architecture.depth(self.model) - 1
        mlp = self.architecture.mlp(self.model, last) if self.recipe.layers[-1] < last else None
        columns = wanted.column + self.tails.start
        sparing = nullcontext() if mlp is None else only_at(mlp, wanted.row, columns)
        with sparing:
            out = self.tails.replay(mine.repeat_interleave(self.contexts, dim=0))
        logits = self._head(out[wanted.row, wanted.column])
        each = torch.nn.functional.cross_entropy(logits, wanted.token, reduction="none")
        by_row = torch.zeros(out.shape[0], dtype=each.dtype, device=each.device)
        by_row = by_row.index_add(0, wanted.row, each * wanted.weight.to(each.dtype))
        nll = by_row.view(-1, self.contexts)
        lengths = held.norm(dim=2) / self.norms[self.live] ** 2
        decay = self.recipe.v_weight_decay * lengths.sum(dim=1)
        loss = nll.mean(dim=1) + self._divergence(mine) + decay
        return loss, torch.exp(-nll.detach()).mean(dim=1)

    def _divergence(self, mine: Tensor) -> Tensor:
        """``kl_factor * KL(edited || base)`` at the subject alone; 0 in the first step."""
        if self.subjects is None:
            return torch.zeros((), device=mine.device)
        log_probs = self._head(self.subjects.replay(mine)[:, 0]).log_softmax(dim=1)
        if self.base_log_probs is None:
            self.base_log_probs = log_probs.detach()
        kl = (log_probs.exp() * (log_probs - self.base_log_probs)).sum(dim=1)
        return self.recipe.kl_factor * kl

    def _head(self, hidden: Tensor) -> Tensor:
        return logits_of(self.model, self.architecture.norm(self.model)(hidden))

    def _target(self, edit: int, free: Tensor, figures: dict[str, float]) -> Target:
        hidden = self.hidden[edit, 0]
        delta = self._delta(free[edit].detach().clone())[0]
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
        span = torch.arange(self.contexts, device=kept.device)
        rows = (kept[:, None] * self.contexts + span).reshape(-1)
        self.wanted = self.wanted.pick(rows, len(self.live) * self.contexts)
        self.tails = self.tails.pick(rows)
        if self.subjects is not None:
            self.subjects = self.subjects.pick(kept)
        if self.base_log_probs is not None:
            self.base_log_probs = self.base_log_probs[kept]
        self.live = self.live[kept]
