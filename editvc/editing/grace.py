"""From requests to codebook entries: the search for values (GRACE, section 3.2).

For one request, the keys are what the down projection of the recipe's layer gets where the target's
tokens are predicted, from the last token of the prompt to the last but one of the target, and the
values what it shall give there. Adam (``edit_lr``) searches for the values that together minimise
the negative log likelihood of the target, mean over its tokens, starting from what the layer gives
by itself (GRACE's ``val_init: warm``; its ``cold`` start is a random vector, and would make the
outcome one of chance). It ends when the loss falls below ``v_loss_threshold``, or after ``n_iter``
evaluations with the best values seen.

What is replaced in a layer changes no input of that layer, so keys taken on the model as it is are
those that the answering model sees. Edits of weights below the layer move them, while the values go
on to serve: :func:`reread` takes the keys of entries on the weights that are to answer.

Many requests run in one batch; they share no number but the step count. Hartvigsen et al. 2023,
Aging with GRACE, arXiv 2211.11031.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.codebook_entry import CodebookEntry
from editvc.core.edit_site import EditSite
from editvc.core.facts import Request
from editvc.core.methods.grace import GraceRecipe
from editvc.core.progress import Progress
from editvc.editing.resources import Resources
from editvc.editing.target_tokens import TargetTokens
from editvc.models.forward import batches, keys_at
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import prepare_replay
from editvc.models.tokenization import TokenizedPrompt, tokenize


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GraceRecipe,
    _resources: Resources,
    progress: Progress | None,
) -> list[CodebookEntry]:
    """:func:`find_entries`, which needs nothing of the repository."""
    return find_entries(lm, requests, recipe, progress=progress)


def find_entries(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GraceRecipe,
    *,
    progress: Progress | None = None,
) -> list[CodebookEntry]:
    """One codebook entry for every request, each as if it were the only one.

    The model is left untouched. Raises the errors of :mod:`editvc.models.tokenization` and
    :class:`editvc.models.replay.ReplayError`.
    """
    rows = [_from_the_end(row) for (row,) in tokenize(lm.tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    entries: dict[int, CodebookEntry] = {}
    with lm.eval_mode():
        for batch in batches(order, lambda i: len(rows[i].ids)):
            searched = _Search(lm, [rows[i] for i in batch], recipe).run()
            entries.update(zip(batch, searched, strict=True))
            if progress is not None:
                progress("values", len(entries), len(rows))
    return [entries[index] for index in range(len(rows))]


def reread(
    lm: LanguageModel, requests: Sequence[Request], entries: Sequence[CodebookEntry]
) -> list[CodebookEntry]:
    """The entries of requests, with the keys that the model sees as its weights are now.

    The model is left untouched.
    """
    rows = [row for (row,) in tokenize(lm.tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    layers = sorted({entry.layer for entry in entries})
    moved: dict[int, CodebookEntry] = {}
    for batch in batches(order, lambda i: len(rows[i].ids)):
        places = [range(rows[i].target - 1, len(rows[i].ids) - 1) for i in batch]
        seen = keys_at(lm, [rows[i].ids[:-1] for i in batch], places, layers)
        each = {layer: _apart(keys.float().cpu(), places) for layer, keys in seen.items()}
        for i in batch:
            keys = {layer: next(parts) for layer, parts in each.items()}
            moved[i] = replace(entries[i], keys=keys[entries[i].layer])
    return [moved[index] for index in range(len(rows))]


def _apart(keys: Tensor, places: Sequence[range]) -> Iterator[Tensor]:
    """The keys of each row, copied out of those of all rows."""
    parts = torch.split(keys, [len(columns) for columns in places])
    return (part.clone() for part in parts)


def _from_the_end(row: TokenizedPrompt) -> TokenizedPrompt:
    """The row with the prompt's last token in the place of the subject's: where it is edited."""
    return TokenizedPrompt(row.ids, row.target - 1, row.target)


class _Search:
    """Values that are searched for together. ``live`` are the rows whose search goes on."""

    def __init__(
        self, lm: LanguageModel, rows: Sequence[TokenizedPrompt], recipe: GraceRecipe
    ) -> None:
        self.lm, self.recipe, self.rows = lm, recipe, rows
        (self.layer,) = recipe.layers
        split = [SplitTokens(row.ids[:-1], row.subject) for row in rows]
        self.suffixes = prepare_replay(lm, split, self.layer, EditSite.MLP_OUTPUT)
        device = self.suffixes.hidden.device
        self.target_tokens = TargetTokens.of(rows, device)
        self.live = torch.arange(len(rows), device=device)  # (live,)

    def run(self) -> list[CodebookEntry]:
        """Search to the end of the last row."""
        recipe = self.recipe
        with torch.no_grad():
            keys, own, _ = self._replayed(None)  # (n, columns, v), (n, columns, u)
        own = own.to(torch.promote_types(own.dtype, torch.float32))
        free = torch.zeros_like(own, requires_grad=True)  # (n, columns, u)
        adam = torch.optim.Adam([free], lr=recipe.edit_lr)
        best = own.clone()  # (n, columns, u)
        lowest = torch.full((len(best),), torch.inf, dtype=best.dtype, device=best.device)  # (n,)
        first = lowest.clone()  # (n,)
        steps = torch.zeros_like(self.live)  # (n,)
        for step in range(recipe.n_iter):
            losses = self._losses(free)  # (live,)
            seen = losses.detach().to(best.dtype)
            if step == 0:
                first = seen
            better = self.live[seen < lowest[self.live]]
            lowest[self.live] = torch.minimum(lowest[self.live], seen)
            best[better] = (own + free.detach())[better]
            steps[better] = step
            self._drop(lowest[self.live] >= recipe.v_loss_threshold)
            if not len(self.live):
                break
            (free.grad,) = torch.autograd.grad(losses.sum(), free)
            adam.step()
        return [
            CodebookEntry(
                self.layer,
                keys[index, : len(answer)].float().cpu().clone(),
                best[index, : len(answer)].float().cpu().clone(),
                answer,
                {
                    "loss": float(lowest[index]),
                    "steps": float(steps[index]),
                    "key": float(keys[index, 0].norm()),
                    "base_probability": float(torch.exp(-first[index])),
                    "probability": float(torch.exp(-lowest[index])),
                },
            )
            for index, answer in enumerate(row.ids[row.target :] for row in self.rows)
        ]

    def _replayed(self, free: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The layer's input (rows, columns, v) and own output, and the last block's output.

        All in the suffixes' columns; ``free`` (rows, columns, u) is added to what the layer gives
        there.
        """
        suffixes = self.suffixes
        assert suffixes.within is not None, "values are within a block"
        call, columns = suffixes.within.call, suffixes.hidden.shape[:2]
        seen: list[Tensor] = []

        def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            # Some MLPs are handed all tokens in one dimension, and Falcon adds to what it gives.
            whole = (one.detach().clone().view(*columns, -1) for one in (args[0], output))
            seen.extend(one[:, suffixes.start :] for one in whole)
            if free is None:
                return None
            padding = (0, 0, suffixes.start, 0)
            added = torch.nn.functional.pad(free.to(output.dtype), padding)  # (rows, columns, u)
            return output + added.view(output.shape)

        handle = self.lm.down_proj(self.layer).register_forward_hook(hook)
        try:
            out = call.block(*call.args, **call.kwargs)
        finally:
            handle.remove()
        hidden = first_tensor(out)  # (rows, columns, u)
        for later in suffixes.calls:
            hidden = later.run(hidden)
        return seen[0], seen[1], hidden[:, suffixes.start :]

    def _losses(self, free: Tensor) -> Tensor:
        """Negative log likelihood of the target of every live row, mean over its tokens."""
        tokens = self.target_tokens
        _, _, hidden = self._replayed(free[self.live])  # (live, columns, u)
        normed = self.lm.final_norm(hidden[tokens.row, tokens.column])  # (tokens, u)
        return tokens.losses(self.lm.logits(normed), len(self.live))

    def _drop(self, kept: Tensor) -> None:
        """Go on with these of the live rows only."""
        if kept.all():
            return
        rows, index = len(self.live), kept.nonzero()[:, 0]
        self.target_tokens = self.target_tokens.pick(index, rows)
        self.suffixes = self.suffixes.pick(index)
        self.live = self.live[index]
