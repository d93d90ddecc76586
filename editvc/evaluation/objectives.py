"""How far the objective of an edit is from what a model would say: before any edit is made.

Huang et al. 2024 (arXiv 2410.23843, equation 1) take the perplexity of a target's tokens on the
unedited model, ``exp(-(1/t) sum_i log p(x_i | x_<i))``, and its number of tokens for what tells how
much an edit will damage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from editvc.evaluation.probes import LARGEST_LOSS, Forced
from editvc.models.forward import batches, final_states, target_losses
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt


@dataclass(frozen=True, slots=True)
class Objective:
    """Of a target behind its question: ``perplexity`` on a model (1 or more), and ``tokens``."""

    perplexity: float
    tokens: int

    @classmethod
    def of(cls, target: Forced) -> Objective:
        """Of a target that was teacher-forced on the unedited model."""
        return cls(math.exp(min(-target.log_probability, LARGEST_LOSS)), target.tokens)

    def to_json(self) -> dict[str, float | int]:
        """By name."""
        return {"perplexity": self.perplexity, "tokens": self.tokens}


@torch.no_grad()
def objectives(lm: LanguageModel, rows: Sequence[TokenizedPrompt]) -> list[Objective]:
    """The objective of every row, in the order given; the model is left as it was."""
    lengths = [len(row.ids) for row in rows]
    losses: dict[int, float] = {}
    with lm.eval_mode():
        for batch in batches(
            sorted(range(len(rows)), key=lengths.__getitem__), lengths.__getitem__
        ):
            chosen = [rows[index] for index in batch]
            hidden, _ = final_states(lm, [row.ids[:-1] for row in chosen])
            each = target_losses(lm, hidden, chosen).double()  # (rows,)
            losses.update(zip(batch, each.tolist(), strict=True))
    return [
        Objective(math.exp(min(losses[index], LARGEST_LOSS)), len(row.ids) - row.target)
        for index, row in enumerate(rows)
    ]
