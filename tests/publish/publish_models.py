"""Tiny models of two families on disk: Conv1D with a tied head, Linear with a head of its own."""

from __future__ import annotations

import torch
from tiny_models import tiny_gpt2, tiny_llama

from editvc.editing.delta import Delta, Factored

FAMILIES = ["gpt2", "llama"]
HIDDEN, INNER, LAYERS = 16, 24, 12


def tiny_model(family: str, vocabulary: int) -> torch.nn.Module:
    """Many thin layers, so that their numbers have one digit or two."""
    if family == "gpt2":
        return tiny_gpt2(vocabulary, n_embd=HIDDEN, n_inner=INNER, n_layer=LAYERS)
    return tiny_llama(
        vocabulary, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS
    )


def random_delta(ranks: dict[int, int], scale: float = 0.5, seed: int = 0) -> Delta:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    return Delta({n: Factored(normal(HIDDEN, r), normal(r, INNER)) for n, r in ranks.items()})
