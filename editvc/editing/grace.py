"""From requests to codebook entries: the search for values (GRACE, section 3.2).

For one request, the key is what the down projection of the recipe's layer gets at the last token of
the prompt, the value what it shall give there. Adam (``edit_lr``) searches for the value that
minimises the negative log likelihood of the target, mean over its tokens, starting from what the
layer gives by itself (GRACE's ``val_init: warm``; its ``cold`` start is a random vector, and would
make the outcome one of chance). It ends when the loss falls below ``v_loss_threshold``, or after
``n_iter`` evaluations with the best value seen.

The layer's output is replaced at that one token. The target's later tokens are predicted with their
own outputs as they are, and see the value by attention, as they will when they are generated.

Many requests run in one batch; they share no number but the step count. Hartvigsen et al. 2023,
Aging with GRACE, arXiv 2211.11031.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editvc.core.patch_recipes import Grace
from editvc.editing.architectures import Architecture, architecture_in
from editvc.editing.codebook import CodebookEntry
from editvc.editing.passes import batches
from editvc.editing.prefixes import Row
from editvc.editing.replay import Tails, logits_of, run_tails, undisturbed
from editvc.editing.targets import Progress, Wanted
from editvc.editing.tracing import Request, Traced, trace


def find_entries(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    recipe: Grace,
    *,
    progress: Progress | None = None,
) -> list[CodebookEntry]:
    """One codebook entry for every request, each as if it were the only one.

    The model is left untouched. Raises the errors of :mod:`editvc.editing.tracing` and
    :class:`editvc.editing.replay.ReplayError`.
    """
    architecture = architecture_in(model)
    rows = [_from_the_end(traced) for (traced,) in trace(tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    found: dict[int, CodebookEntry] = {}
    with undisturbed(model):
        for batch in batches(order, lambda i: len(rows[i].ids)):
            targets = [requests[i].target.strip() for i in batch]
            entries = _Search(model, architecture, [rows[i] for i in batch], recipe).run(targets)
            found.update(zip(batch, entries, strict=True))
            if progress is not None:
                progress("values", len(found), len(rows))
    return [found[index] for index in range(len(rows))]


def _from_the_end(row: Traced) -> Traced:
    """The row with the prompt's last token in the place of the subject's: where it is edited."""
    return Traced(row.ids, row.target - 1, row.target)


class _Search:
    """Values that are searched for together. ``live`` are the rows whose search goes on."""

    def __init__(
        self, model: Any, architecture: Architecture, rows: Sequence[Traced], recipe: Grace
    ) -> None:
        self.model, self.architecture, self.recipe = model, architecture, recipe
        (self.layer,) = recipe.layers
        cut = [Row(row.ids[:-1], row.subject) for row in rows]
        self.tails: Tails = run_tails(model, architecture, cut, self.layer, "rome", (self.layer,))
        self.wanted = Wanted.of(rows, self.tails.hidden.device)
        work = torch.promote_types(self.tails.aimed.dtype, torch.float32)
        self.keys, self.given = self.tails.keys[self.layer], self.tails.aimed.to(work)
        self.live = torch.arange(len(rows), device=self.given.device)

    def run(self, targets: Sequence[str]) -> list[CodebookEntry]:
        """Search to the end of the last row."""
        recipe = self.recipe
        free = torch.zeros_like(self.given, requires_grad=True)  # (n, 1, u)
        adam = torch.optim.Adam([free], lr=recipe.edit_lr)
        best = self.given[:, 0].clone()
        lowest = torch.full((len(best),), torch.inf, dtype=best.dtype, device=best.device)
        first = lowest.clone()
        steps = torch.zeros_like(self.live)
        for step in range(recipe.n_iter):
            losses = self._losses(free)
            seen = losses.detach().to(best.dtype)
            if step == 0:
                first = seen
            better = self.live[seen < lowest[self.live]]
            lowest[self.live] = torch.minimum(lowest[self.live], seen)
            best[better] = (self.given + free.detach())[better, 0]
            steps[better] = step
            self._drop(lowest[self.live] >= recipe.v_loss_threshold)
            if not len(self.live):
                break
            (free.grad,) = torch.autograd.grad(losses.sum(), free)
            adam.step()
        return [
            CodebookEntry(
                self.layer,
                self.keys[row].float().cpu().clone(),
                best[row].float().cpu().clone(),
                target,
                {
                    "loss": float(lowest[row]),
                    "steps": float(steps[row]),
                    "key": float(self.keys[row].norm()),
                    "base_probability": float(torch.exp(-first[row])),
                    "probability": float(torch.exp(-lowest[row])),
                },
            )
            for row, target in enumerate(targets)
        ]

    def _losses(self, free: Tensor) -> Tensor:
        """Negative log likelihood of the target of every live row, mean over its tokens."""
        wanted = self.wanted
        hidden = self.tails.replay(free[self.live])[wanted.row, wanted.column]
        logits = logits_of(self.model, self.architecture.norm(self.model)(hidden))
        each = torch.nn.functional.cross_entropy(logits, wanted.token, reduction="none")
        by_row = torch.zeros(len(self.live), dtype=each.dtype, device=each.device)
        return by_row.index_add(0, wanted.row, each * wanted.weight.to(each.dtype))

    def _drop(self, kept: Tensor) -> None:
        """Go on with these of the live rows only."""
        if kept.all():
            return
        rows, index = len(self.live), kept.nonzero()[:, 0]
        self.wanted, self.tails = self.wanted.pick(index, rows), self.tails.pick(index)
        self.live = self.live[index]
