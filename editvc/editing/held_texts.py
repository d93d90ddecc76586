"""What a model says behind a subject when it is not asked for the fact, and how far it is moved.

A value that says the new object wherever the subject stands would also say it in the middle of a
text about something else. So the search pays for every word that the model would go on with
otherwise: behind the subject alone, as MEMIT does, or through a text that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.core.edit_site import EditSite
from editvc.editing.edit_batches import TokenizedEdit
from editvc.editing.row_groups import rows_of_edits
from editvc.models.language_model import LanguageModel
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import SuffixReplay, prepare_replay


@dataclass(frozen=True, slots=True)
class HeldTexts:
    """The held texts of some edits, ready to be replayed: each ``row``'s number of its edit.

    ``token_row`` and ``column`` (tokens,) are the places from each subject's last token to the end
    of its text; ``base`` (tokens, vocabulary) are the log probabilities that the base has there.
    """

    edit: Tensor  # (rows,)
    suffixes: SuffixReplay
    token_row: Tensor  # (tokens,)
    column: Tensor  # (tokens,)
    base: Tensor

    @classmethod
    def of(
        cls, lm: LanguageModel, edits: Sequence[TokenizedEdit], layer: int, site: EditSite
    ) -> HeldTexts:
        """Run the held texts of ``edits`` through the base, ready for vectors at ``layer``.

        Raises :class:`editvc.models.replay.ReplayError`.
        """
        rows = [(number, text) for number, edit in enumerate(edits) for text in edit.held]
        split = [SplitTokens(text.ids, text.subject) for _, text in rows]
        suffixes = prepare_replay(lm, split, layer, site)
        device = suffixes.hidden.device
        places = [
            (row, column)
            for row, (_, text) in enumerate(rows)
            for column in range(len(text.ids) - text.subject)
        ]
        token_row, column = torch.tensor(places, device=device).unbind(dim=1)
        edit = torch.tensor([number for number, _ in rows], device=device)
        with torch.no_grad():
            work = torch.promote_types(suffixes.hidden.dtype, torch.float32)
            unmoved = torch.zeros_like(suffixes.unedited, dtype=work, device=device)
            base = _log_probs(lm, suffixes.replay(unmoved)[token_row, column], unmoved)
        return cls(edit, suffixes, token_row, column, base)

    def divergence(self, lm: LanguageModel, deltas: Tensor) -> Tensor:
        """``KL(edited || base)`` of the next token (edits,), the mean over an edit's held tokens.

        ``deltas`` (edits, parts, u) are added at each subject's last token.
        """
        hidden = self.suffixes.replay(deltas[self.edit])[self.token_row, self.column]  # (tokens, u)
        log_probs = _log_probs(lm, hidden, deltas)  # (tokens, vocabulary)
        kl = (log_probs.exp() * (log_probs - self.base)).sum(dim=1)  # (tokens,)
        owner = self.edit[self.token_row]  # (tokens,)
        total = torch.zeros(len(deltas), dtype=kl.dtype, device=kl.device)
        counts = torch.zeros_like(total).index_add(0, owner, torch.ones_like(kl))
        return total.index_add(0, owner, kl) / counts

    def of_edits(self, kept: Tensor, edits: int) -> HeldTexts:
        """Those of the edits ``kept``, of ``edits`` that there were; edits count anew."""
        rows, edit = rows_of_edits(self.edit, kept, edits)
        renumbered = torch.full_like(self.edit, -1)  # (rows,)
        renumbered[rows] = torch.arange(len(rows), device=kept.device)
        tokens = renumbered[self.token_row] >= 0  # (tokens,)
        return HeldTexts(
            edit,
            self.suffixes.pick(rows),
            renumbered[self.token_row[tokens]],
            self.column[tokens],
            self.base[tokens],
        )


def _log_probs(lm: LanguageModel, hidden: Tensor, like: Tensor) -> Tensor:
    """``(tokens, vocabulary)`` behind hidden states (tokens, u) of the last block, as ``like``."""
    log_probs: Tensor = lm.logits(lm.final_norm(hidden)).to(like).log_softmax(dim=1)
    return log_probs
