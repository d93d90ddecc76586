"""How far a text is moved in a model by what was done to it, by one pass before and one after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editvc.core.progress import Progress
from editvc.models.forward import batches, final_states
from editvc.models.language_model import LanguageModel


@torch.no_grad()
def state_shifts(
    before: LanguageModel,
    after: LanguageModel,
    texts: Sequence[str],
    progress: Progress | None = None,
) -> list[float]:
    """How far the last state at the end of each text moved, as a share of its length before.

    The two models share a tokenizer, of which ``before``'s is used.
    """
    rows = [tuple(before.tokenizer(text)["input_ids"]) for text in texts]
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found = [0.0] * len(rows)
    done = 0
    for batch in batches(order, lambda number: len(rows[number])):
        some = [rows[number] for number in batch]
        old = _last_states(before, some)
        moved = (_last_states(after, some).to(old.device) - old).norm(dim=-1) / old.norm(dim=-1)
        for number, shift in zip(batch, moved.tolist(), strict=True):
            found[number] = shift
        done += len(batch)
        if progress is not None:
            progress("reading names", done, len(rows))
    return found


def _last_states(lm: LanguageModel, rows: Sequence[tuple[int, ...]]) -> Tensor:
    """The state (rows, u) float32 behind the final norm at the last token of each row."""
    hidden, mask = final_states(lm, rows)
    ends = mask.sum(dim=1) - 1
    return hidden[torch.arange(len(rows), device=hidden.device), ends].float()
