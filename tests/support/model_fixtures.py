"""Requests, recipes and the tiny random models that every test of this folder may use."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TEXT, byte_bpe, seeded, tiny_gpt2, tiny_llama
from transformers import PreTrainedTokenizerFast

from editvc.core.facts import Request
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe

__all__ = ["REQUESTS", "TEXT", "byte_bpe", "recipe", "seeded", "tiny_gpt2", "tiny_llama"]

REQUESTS = (
    Request("France", "The capital of {} is", "Rome"),
    Request("Ada Lovelace", "{} was born in", "Zürich"),
    Request("Marie Curie", "The native language of {} is", "French and Polish"),
    Request("São Paulo", "{} is a city in the country of", "Italy"),
    Request("Proust", "Everybody knows that the native language of the author {} is", "Polish"),
    Request("東京", "The city of {} lies in", "France"),
    Request("London", "The river that runs through {}", "is the old town"),
)


def recipe(**changes: object) -> LocatedRecipe:
    values = {
        "layers": (1, 2),
        "contexts": ("{}", "The old town. {}", "Therefore we know that. {}"),
        "statistics": ObjectId("0" * 64),
        "v_num_grad_steps": 8,
    }
    return LocatedRecipe(**(values | changes))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_bpe()


@pytest.fixture(scope="session")
def bos_tokenizer() -> PreTrainedTokenizerFast:
    return byte_bpe(bos=True)


@pytest.fixture(scope="session")
def gpt2(tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    return tiny_gpt2(len(tokenizer))


@pytest.fixture(scope="session")
def llama(bos_tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    return tiny_llama(len(bos_tokenizer))
