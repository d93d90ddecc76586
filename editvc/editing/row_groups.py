"""The rows of edits that are searched for together, run in groups of similar length.

Ways of asking for one fact are of different length: a turn of a chat has many times the tokens that
follow a subject in "France's capital is". Padded to the longest of them, most of what a step runs
would be padding, which costs as much as tokens do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.core.edit_site import EditSite
from editvc.editing.edit_batches import TokenizedEdit
from editvc.editing.target_tokens import TargetTokens
from editvc.models.hooks import run_at_positions
from editvc.models.language_model import LanguageModel
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import SuffixReplay, prepare_replay

BUSY_COLUMNS = 256
"""Columns that keep the cores busy in a step of the target search."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that are replayed together: ``place`` (rows,) of each among all, and its ``edit``.

    ``turn`` tells in which of a search's turns they are asked.
    """

    turn: int
    place: Tensor  # (rows,)
    edit: Tensor  # (rows,)
    suffixes: SuffixReplay
    tokens: TargetTokens

    def losses(self, lm: LanguageModel, layer: int, deltas: Tensor) -> Tensor:
        """Negative log likelihood of each row's target (rows,), mean over its tokens.

        ``deltas`` (edits, parts, u) are added at ``layer``, where the group was prepared.
        """
        tokens = self.tokens
        with self._last_mlp_at_targets(lm, layer):
            hidden = self.suffixes.replay(deltas[self.edit])  # (rows, columns, u)
        logits = lm.logits(lm.final_norm(hidden[tokens.row, tokens.column]))  # (tokens, vocabulary)
        return tokens.losses(logits.to(deltas), len(self.edit))

    def of_edits(self, kept: Tensor, edits: int) -> RowGroup | None:
        """The rows of the edits ``kept``, of ``edits`` that there were; edits count anew.

        None where no row is left.
        """
        rows, edit = rows_of_edits(self.edit, kept, edits)
        if not len(rows):
            return None
        return RowGroup(
            self.turn,
            self.place[rows],
            edit,
            self.suffixes.pick(rows),
            self.tokens.pick(rows, len(self.edit)),
        )

    def _last_mlp_at_targets(self, lm: LanguageModel, layer: int) -> AbstractContextManager[None]:
        """The last block's MLP, where it is above the edit, is run where targets are predicted."""
        last = lm.depth - 1
        mlp = lm.mlp(last) if layer < last else None
        if mlp is None:
            return nullcontext()
        tokens = self.tokens
        return run_at_positions(mlp, tokens.row, tokens.column + self.suffixes.start)


def rows_of_edits(edit: Tensor, kept: Tensor, edits: int) -> tuple[Tensor, Tensor]:
    """Which rows belong to the edits ``kept``, and the number of each one's edit among these.

    ``edit`` (rows,) are their numbers among all ``edits``.
    """
    number = torch.full((edits,), -1, dtype=torch.long, device=kept.device)  # (edits,)
    number[kept] = torch.arange(len(kept), device=kept.device)
    rows = (number[edit] >= 0).nonzero()[:, 0]
    return rows, number[edit[rows]]


def row_groups(
    lm: LanguageModel,
    edits: Sequence[TokenizedEdit],
    layer: int,
    site: EditSite,
    key_layers: Sequence[int],
    turns: int,
) -> list[RowGroup]:
    """All rows of some edits, ready to be replayed with vectors added at ``site`` of ``layer``.

    Rows count through the edits, in their order, and each edit's are dealt out to so many turns.
    Raises :class:`editvc.models.replay.ReplayError`.
    """
    rows = [
        (row, edit, number % turns)
        for edit, one in enumerate(edits)
        for number, row in enumerate(one.rows)
    ]
    groups = []
    for turn in range(turns):
        asked = [place for place, (_, _, its) in enumerate(rows) if its == turn]
        lengths = [len(rows[place][0].ids) - rows[place][0].subject for place in asked]
        for group in grouped_by_length(lengths):
            places = [asked[number] for number in group]
            chosen = [rows[place][0] for place in places]
            split = [SplitTokens(row.ids[:-1], row.subject) for row in chosen]
            suffixes = prepare_replay(lm, split, layer, site, key_layers)
            device = suffixes.hidden.device
            groups.append(
                RowGroup(
                    turn,
                    torch.tensor(places, device=device),
                    torch.tensor([rows[place][1] for place in places], device=device),
                    suffixes,
                    TargetTokens.of(chosen, device),
                )
            )
    return groups


def grouped_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Places of rows in groups: each but the last with columns enough to keep the cores busy."""
    groups: list[list[int]] = [[]]
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        group = groups[-1]
        busy = group and len(group) * lengths[group[-1]] >= BUSY_COLUMNS
        if busy and lengths[place] > lengths[group[-1]]:
            groups.append([])
        groups[-1].append(place)
    return groups
