"""Tiny models of two families on disk: Conv1D with a tied head, Linear with a head of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import byte_bpe, tiny_gpt2, tiny_llama

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored

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


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A saved tiny model: ``make_base(family, dtype, shard)``; built once per combination."""
    made: dict[tuple[str, torch.dtype, str], Path] = {}
    tokenizer = byte_bpe()

    def make(family: str, dtype: torch.dtype = torch.float32, shard: str = "1GB") -> Path:
        key = (family, dtype, shard)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{family}-base")
            model = tiny_model(family, len(tokenizer)).to(dtype)
            model.save_pretrained(folder, max_shard_size=shard)
            tokenizer.save_pretrained(folder)
            (folder / "README.md").write_text("---\nlicense: mit\nlanguage: en\n---\n# Base\n")
            (folder / "LICENSE").write_text("the licence\n")
            (folder / "chat_template.jinja").write_text("{{ messages }}")
            made[key] = folder
        return made[key]

    return make
