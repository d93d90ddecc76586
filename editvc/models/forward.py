"""Plain passes over many rows of tokens: how they are batched, and the keys that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

from editvc.core.progress import Progress
from editvc.models.hooks import StopForward
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt

TOKENS_PER_BATCH = 4096
"""Padding counted. Bounds what one pass holds; in other batches statistics round otherwise."""

_STRIPES = 4
"""Stripes of a symmetric product: 4 make five eighths of the work, more make little of it less."""

Row = TypeVar("Row")


def batches(rows: Iterable[Row], length: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Rows in their order, as many a batch as ``TOKENS_PER_BATCH`` allows once padded.

    ``length`` counts the tokens of a row; a row that is longer than all that has a batch of its
    own. Little is padding where rows come by length, the shortest or the longest first.
    """
    batch: list[Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, length(row))
        if batch and longest * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch, longest = [], length(row)
        batch.append(row)
    if batch:
        yield batch


def padded_right(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of rows of different length, ``(rows, columns)`` each."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids.to(device), mask.to(device)


def keys_at(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> dict[int, Tensor]:
    """Keys by layer at some columns of each row: ``(places, v)``, row by row, float32 at least.

    The columns of a row come in rising order. All rows run at once, no further than the highest of
    ``layers``.
    """
    return _entering(lm, rows, places, {layer: lm.down_proj(layer) for layer in layers})


def inputs_at(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> dict[int, Tensor]:
    """:func:`keys_at` for what the MLPs take: ``(places, u)``. Raises ``NoUpProjError``."""
    return _entering(lm, rows, places, {layer: lm.up_proj(layer) for layer in layers})


def inputs_at_ends(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    label: str = "inputs",
    progress: Progress | None = None,
) -> dict[int, Tensor]:
    """What the MLPs take at the last token of each row, by layer: (rows, u) float64, on the CPU.

    In batches of similar length; ``progress`` counts rows under ``label``. Raises
    ``NoUpProjError``.
    """
    return _at_ends(inputs_at, lm, rows, layers, lm.hidden_size, label, progress)


def keys_at_ends(
    lm: LanguageModel, rows: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """:func:`inputs_at_ends` for keys: (rows, v)."""
    return _at_ends(keys_at, lm, rows, layers, lm.inner_size, "keys", None)


def _at_ends(
    reading: Callable[..., dict[int, Tensor]],
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    layers: Sequence[int],
    width: int,
    label: str,
    progress: Progress | None,
) -> dict[int, Tensor]:
    """What ``reading`` gives at the last token of each row, by layer: (rows, width)."""
    if not rows:
        return {layer: torch.zeros(0, width, dtype=torch.float64) for layer in layers}
    # Names are seen again and again: twins of one subject are those of many.
    several = sorted(dict.fromkeys(map(tuple, rows)), key=len)
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    done = 0
    for cut in batches(several, len):
        ends = [range(len(row) - 1, len(row)) for row in cut]
        for layer, states in reading(lm, cut, ends, layers).items():
            found[layer].append(states.double().cpu())
        done += len(cut)
        if progress is not None:
            progress(label, done, len(several))
    number = {row: place for place, row in enumerate(several)}
    back = torch.tensor([number[tuple(row)] for row in rows])
    return {layer: torch.cat(parts)[back] for layer, parts in found.items()}


def _entering(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    modules: Mapping[int, Module],
) -> dict[int, Tensor]:
    """What goes into modules, by layer, at some columns of each row."""
    ids, mask = padded_right(rows, lm.device)
    chosen = torch.zeros_like(mask, dtype=torch.bool)
    for row, columns in enumerate(places):
        chosen[row, list(columns)] = True
    seen: dict[int, Tensor] = {}

    def hook(layer: int) -> Callable[..., None]:
        def catch(_module: Any, args: tuple[Any, ...]) -> None:
            # Some MLPs are handed all tokens in one dimension.
            each = args[0].view(*ids.shape, -1)[chosen.to(args[0].device)]
            seen[layer] = each.to(torch.promote_types(each.dtype, torch.float32))
            if len(seen) == len(modules):
                raise StopForward

        return catch

    with lm.eval_mode() as handles, torch.no_grad(), suppress(StopForward):
        for layer, module in modules.items():
            handles.append(module.register_forward_pre_hook(hook(layer)))
        lm.body(input_ids=ids, attention_mask=mask, use_cache=False)
    return seen


def add_products(sums: dict[int, Tensor], keys: Mapping[int, Tensor]) -> None:
    """Add ``k k^T`` of :func:`keys_at` to sums (v, v): products as the keys, sums in float64."""
    for layer, batch in keys.items():
        product = gram(batch).double()
        sums[layer] = sums[layer].add_(product) if layer in sums else product


def gram(rows: Tensor) -> Tensor:
    """``X^T X`` (v, v) of X (n, v): the blocks above the diagonal once, and mirrored below it."""
    width = rows.shape[1]
    product = rows.new_empty(width, width)
    step = max(1, -(-width // _STRIPES))
    for start in range(0, width, step):
        stop = min(width, start + step)
        product[start:stop, start:] = rows[:, start:stop].T @ rows[:, start:]
        product[stop:, start:stop] = product[start:stop, stop:].T
    return product


def final_states(lm: LanguageModel, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """States behind the final norm (rows, columns, u), and which columns are no padding.

    The model is told of no mask: rows are padded on the right, where causal attention does not look
    (and one that looks back a few tokens only has no padding of its own to be confused by).
    """
    ids, mask = padded_right(rows, lm.device)
    hidden: Tensor = lm.body(input_ids=ids, use_cache=False)[0]
    return hidden, mask


def target_losses(lm: LanguageModel, hidden: Tensor, rows: Sequence[TokenizedPrompt]) -> Tensor:
    """Mean negative log likelihood (rows,) of each target, in nats.

    ``hidden`` (rows, columns, u) comes from the final norm.
    """
    logits, tokens, row = at_targets(lm, hidden, rows)
    each = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    counts = torch.bincount(row, minlength=len(rows))
    return each.new_zeros(len(rows)).index_add(0, row, each) / counts


def at_targets(
    lm: LanguageModel, hidden: Tensor, rows: Sequence[TokenizedPrompt]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of all target tokens, row by row: logits before each, the token, the number of its row."""
    places = [
        (number, column - 1, row.ids[column])
        for number, row in enumerate(rows)
        for column in range(row.target, len(row.ids))
    ]
    row, column, token = torch.tensor(places, device=hidden.device).T
    return lm.logits(hidden[row, column]), token, row
