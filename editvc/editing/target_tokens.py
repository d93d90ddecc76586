"""Where the tokens of targets are predicted, in rows that are run from the subject's end on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.models.tokenization import TokenizedPrompt


@dataclass(frozen=True, slots=True)
class TargetTokens:
    """All target tokens of some rows, in flat lists.

    ``column`` counts from the subject's last token and is where ``token`` is predicted; ``weight``
    is 1 over the number of the row's target tokens.
    """

    row: Tensor  # (tokens,)
    column: Tensor  # (tokens,)
    token: Tensor  # (tokens,)
    weight: Tensor  # (tokens,) float64

    @classmethod
    def of(cls, rows: Sequence[TokenizedPrompt], device: torch.device) -> TargetTokens:
        """All target tokens of rows whose suffixes begin at ``subject``."""
        places = [
            (index, at - 1 - row.subject, row.ids[at], 1 / (len(row.ids) - row.target))
            for index, row in enumerate(rows)
            for at in range(row.target, len(row.ids))
        ]
        row, column, token, weight = zip(*places, strict=True)
        return cls(
            torch.tensor(row, device=device),
            torch.tensor(column, device=device),
            torch.tensor(token, device=device),
            torch.tensor(weight, dtype=torch.float64, device=device),
        )

    def pick(self, index: Tensor, rows: int) -> TargetTokens:
        """The same for a choice of ``rows``, in that order."""
        place = torch.full((rows,), -1, dtype=torch.long, device=index.device)  # (rows,)
        place[index] = torch.arange(len(index), device=index.device)
        row = place[self.row]  # (tokens,)
        kept = row >= 0
        return TargetTokens(row[kept], self.column[kept], self.token[kept], self.weight[kept])

    def losses(self, logits: Tensor, rows: int) -> Tensor:
        """Negative log likelihood of each row's target, (rows,), mean over its tokens.

        ``logits`` (tokens, vocabulary) are those at these places.
        """
        each = torch.nn.functional.cross_entropy(logits, self.token, reduction="none")  # (tokens,)
        by_row = torch.zeros(rows, dtype=each.dtype, device=each.device)  # (rows,)
        return by_row.index_add(0, self.row, each * self.weight.to(each.dtype))
