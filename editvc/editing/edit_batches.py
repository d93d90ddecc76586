"""Requests in tokens, and how many of them one pass takes: planned by an estimate of its memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, subject_tokens, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BATCH = 32
"""How many facts are made into elements together.

It decides how numbers round, so it is one number wherever and by however many the work is done:
enough rows to keep cores busy, and few enough to share out."""

MEMORY = 1 << 31
"""Bytes that one pass may take, by :func:`edit_bytes`'s estimate: a batch may be cut further."""

_SPREAD_COLUMNS = 1 << 12
"""Tokens of one pass of the spread: enough to keep the cores busy, few enough to pad little."""


@dataclass(frozen=True, slots=True)
class TokenizedEdit:
    """One request in tokens: a row a context, and the texts that the KL term holds."""

    rows: tuple[TokenizedPrompt, ...]
    held: tuple[TokenizedPrompt, ...]

    @property
    def suffix_columns(self) -> int:
        """Columns from the subject's last token to the last but one of the target."""
        return max(len(row.ids) - 1 - row.subject for row in self.rows)

    @property
    def prefix_columns(self) -> int:
        """Columns before the subject's last token."""
        return max(row.subject for row in self.rows)


def tokenize_edits(
    tokenizer: PreTrainedTokenizerFast, requests: Sequence[Request], contexts: Sequence[str]
) -> list[TokenizedEdit]:
    """All requests in tokens, in all contexts; held is what follows the subject alone."""
    rows = tokenize(tokenizer, requests, contexts)
    sentences = [(f"{request.subject} is a", len(request.subject)) for request in requests]
    subjects = subject_tokens(tokenizer, sentences)
    return [
        TokenizedEdit(tuple(row), (subject,)) for row, subject in zip(rows, subjects, strict=True)
    ]


def edit_bytes(edit: TokenizedEdit, lm: LanguageModel, turns: int = 1) -> int:
    """Estimated peak memory of one edit in a batch, in bytes.

    Activations kept for the backward pass through all blocks (about 10 u + 4 v numbers a token) of
    the rows of the longest turn, the prefixes' keys and values of all rows, and logits with their
    gradient, which are float32 whatever the model computes in.
    """
    u, v, depth, size = lm.hidden_size, lm.inner_size, lm.depth, lm.dtype.itemsize
    held = sum(len(text.ids) - text.subject for text in edit.held)
    prefix = len(edit.rows) * edit.prefix_columns + sum(text.subject for text in edit.held)
    dealt = [edit.rows[turn::turns] for turn in range(turns)]
    tokens = held + max(sum(len(row.ids) - row.subject for row in rows) for rows in dealt)
    predicted = max(sum(len(row.ids) - row.target for row in rows) for rows in dealt) + 2 * held
    numbers = depth * (tokens * (10 * u + 4 * v) + 2 * prefix * u)
    return size * int(numbers) + 4 * 4 * predicted * int(lm.config.vocab_size)


def search_batches(
    edits: Sequence[TokenizedEdit], lm: LanguageModel, memory: int, turns: int = 1
) -> Iterator[list[TokenizedEdit]]:
    """Consecutive edits, as many a batch as ``memory`` bytes hold, one at least."""
    batch: list[TokenizedEdit] = []
    largest = 0
    for edit in edits:
        size = edit_bytes(edit, lm, turns)
        largest = max(largest, size)
        if batch and largest * (len(batch) + 1) > memory:
            yield batch
            batch, largest = [], size
        batch.append(edit)
    if batch:
        yield batch


def spread_batches(
    rows: Sequence[Sequence[TokenizedPrompt]], lm: LanguageModel, memory: int
) -> Iterator[list[int]]:
    """Places of edits, of similar length, whose hidden states up to L fit in ``memory`` bytes."""
    widths = [max(row.subject + 1 for row in edit) for edit in rows]
    batch: list[int] = []
    for place in sorted(range(len(rows)), key=widths.__getitem__):
        size = len(rows[place]) * widths[place] * 4 * 24 * lm.hidden_size
        wide = len(rows[place]) * widths[place] * (len(batch) + 1) > _SPREAD_COLUMNS
        if batch and (size * (len(batch) + 1) > memory or wide):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def estimate_memory(
    lm: LanguageModel, requests: Sequence[Request], recipe: LocatedRecipe, memory: int = MEMORY
) -> int:
    """Bytes that locating takes at most beside the model: one batch, and what is handed back."""
    edits = tokenize_edits(lm.tokenizer, requests, recipe.contexts)
    if not edits:
        return 0
    sizes = sorted((edit_bytes(edit, lm) for edit in edits), reverse=True)
    largest = max(sizes[0], min(sum(sizes[:BATCH]), memory))
    return largest + len(edits) * located_bytes(lm, len(recipe.layers))


def located_bytes(lm: LanguageModel, layers: int) -> int:
    """Upper bound of a stored located edit: 4 (u + v) bytes a layer, and 4 KB."""
    return 4 * (lm.hidden_size + lm.inner_size) * layers + 4096
