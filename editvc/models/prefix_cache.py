"""Rows of tokens cut in two, and the first parts of them run once into a cache.

A row's *prefix* is what stands before the subject's last token, its *suffix* the rest. Prefixes are
padded on the left, so that all suffixes start in one column.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class SplitTokens:
    """Tokens to run; those from index ``start`` on are the suffix."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Token ids, attention mask and positions, ``(rows, columns)`` each."""

    ids: Tensor
    mask: Tensor
    positions: Tensor


class PrefixCache:
    """Keys and values of the prefixes, to read: ``update`` appends for one call, stores nothing."""

    is_compileable = False

    def __init__(self, stored: dict[int, tuple[Tensor, Tensor]]) -> None:
        self.stored = stored

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Prefix and suffix together, each ``(rows, heads, columns, head size)``."""
        if layer_idx not in self.stored:
            return keys, values
        before = self.stored[layer_idx]
        return torch.cat([before[0], keys], dim=-2), torch.cat([before[1], values], dim=-2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns of the prefix."""
        return int(self.stored[layer_idx][0].shape[-2]) if layer_idx in self.stored else 0

    def pick(self, index: Tensor) -> PrefixCache:
        """The same for a choice of rows."""
        return PrefixCache(
            {
                layer: (k[index.to(k.device)], v[index.to(v.device)])
                for layer, (k, v) in self.stored.items()
            }
        )


def run_prefixes(lm: LanguageModel, rows: Sequence[SplitTokens]) -> tuple[Any, Tensor, Columns]:
    """A cache with all prefixes, the mask of its columns (rows, width), and the suffixes to run.

    Without any prefix the cache is None.
    """
    prefix, suffix = padded(rows, lm.device)
    if not prefix.ids.shape[1]:
        return None, prefix.mask, suffix
    _, cache = forward(lm, prefix, prefix.mask)
    return cache, prefix.mask, suffix


def whole(rows: Sequence[SplitTokens], device: torch.device) -> tuple[Tensor, Columns, int]:
    """For a model that keeps no cache: prefixes and suffixes in one, and the suffixes' column.

    The mask of what ran before, (rows, 0), comes first, in the place of :func:`run_prefixes`'s.
    """
    prefix, suffix = padded(rows, device)
    joined = Columns(
        torch.cat([prefix.ids, suffix.ids], dim=1),
        torch.cat([prefix.mask, suffix.mask], dim=1),
        torch.cat([prefix.positions, suffix.positions], dim=1),
    )
    return joined.mask[:, :0], joined, prefix.ids.shape[1]


def padded(rows: Sequence[SplitTokens], device: torch.device) -> tuple[Columns, Columns]:
    """Prefixes padded on the left, suffixes on the right; positions count real tokens."""
    width = max(row.start for row in rows)
    length = max(len(row.ids) - row.start for row in rows)
    ids = torch.zeros(len(rows), width + length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    positions = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        begin = width - row.start
        end = begin + len(row.ids)
        ids[index, begin:end] = torch.tensor(row.ids)
        mask[index, begin:end] = 1
        positions[index, begin:end] = torch.arange(len(row.ids))
        positions[index, end:] = len(row.ids) - 1
    parts = [part.to(device) for part in (ids, mask, positions)]
    return (
        Columns(*(part[:, :width] for part in parts)),
        Columns(*(part[:, width:] for part in parts)),
    )


def forward(
    lm: LanguageModel, columns: Columns, mask: Tensor, cache: Any = None
) -> tuple[Tensor, Any]:
    """The last hidden state of columns that follow what is in the cache, and the cache then.

    The first cache is the model's own: GPT-2 of transformers 4.5x takes no empty one.
    """
    positioned = "position_ids" in inspect.signature(lm.body.forward).parameters
    more = {"position_ids": columns.positions} if positioned else {}
    output = lm.body(
        input_ids=columns.ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more
    )
    return output[0], getattr(output, "past_key_values", None)


def stored(cache: Any, depth: int) -> dict[int, tuple[Tensor, Tensor]]:
    """Keys and values in a cache, by layer: layer objects in transformers 5, pairs in 4.5x."""
    if cache is None:
        return {}
    if hasattr(cache, "layers"):
        return {i: (layer.keys, layer.values) for i, layer in enumerate(cache.layers[:depth])}
    return {i: (cache[i][0], cache[i][1]) for i in range(depth)}
