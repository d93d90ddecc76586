"""What each neuron of an MLP does for the model, measured on text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editvc.models.forward import batches, keys_at
from editvc.models.language_model import LanguageModel


def neuron_use(
    lm: LanguageModel, rows: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """Mean square (v,) of what each neuron adds to its MLP's output, by layer: float64, on the CPU.

    ``E[k_j^2] |d_j|^2`` over all tokens of ``rows``, with the neuron's key k_j and the column d_j
    of the down projection.
    """
    sums = {layer: torch.zeros(lm.inner_size, dtype=torch.float64) for layer in layers}
    for batch in batches(sorted(rows, key=len), len):
        for layer, keys in keys_at(lm, batch, [range(len(row)) for row in batch], layers).items():
            sums[layer] += keys.double().square().sum(dim=0).cpu()
    tokens = sum(map(len, rows))
    return {layer: total / tokens * _lengths(lm, layer) for layer, total in sums.items()}


def _lengths(lm: LanguageModel, layer: int) -> Tensor:
    """``|d_j|^2`` (v,)."""
    stored = lm.weight(layer).detach().double().cpu()
    oriented = stored.T if lm.architecture.transposed else stored  # (u, v)
    return oriented.square().sum(dim=0)
