from __future__ import annotations

import pytest
import torch
from algebra_dense import V, random_moment
from model_fixtures import bos_tokenizer, gpt2, llama, tokenizer

from editvc.algebra.preconditioners import Whitening

__all__ = ["bos_tokenizer", "gpt2", "llama", "tokenizer"]


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def moment(draw: torch.Generator) -> torch.Tensor:
    return random_moment(V, draw, weight=2.0)


@pytest.fixture
def whitening(moment: torch.Tensor) -> Whitening:
    return Whitening.of(moment)
