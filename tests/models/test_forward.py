"""Batches, and keys at chosen places, against one plain forward pass a row."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import lm_of, seeded, tiny_gpt2, tiny_llama
from tolerances import assert_near, model_rounding, rounding, size
from transformers import OPTConfig

from editvc.models.forward import TOKENS_PER_BATCH, add_products, batches, keys_at

ROWS = [[5, 6, 7, 8, 9], [11, 12], [13, 14, 15]]
PLACES = [range(1, 4), range(0), range(2, 3)]
LAYERS = (0, 2)


def tiny_opt(vocabulary):
    """Its MLP is handed all tokens in one dimension."""
    return seeded(
        OPTConfig(
            vocab_size=vocabulary, hidden_size=16, word_embed_proj_dim=16, ffn_dim=24,
            num_hidden_layers=4, num_attention_heads=2, max_position_embeddings=64,
        )
    )  # fmt: skip


@given(st.lists(st.integers(1, 1500) | st.integers(4000, 5000), max_size=40))
def test_batches_keep_rows_in_order_and_are_as_full_as_they_may_be(lengths):
    rows = list(enumerate(lengths))
    found = list(batches(rows, lambda row: row[1]))
    assert [row for batch in found for row in batch] == rows

    def padded(batch):
        return len(batch) * max(length for _, length in batch)

    assert all(padded(batch) <= TOKENS_PER_BATCH or len(batch) == 1 for batch in found)
    for batch, after in itertools.pairwise(found):
        assert padded([*batch, after[0]]) > TOKENS_PER_BATCH


@pytest.mark.parametrize("family", [tiny_gpt2, tiny_llama, tiny_opt])
def test_keys_are_those_of_plain_passes(family):
    model = family(64)
    found = keys_at(lm_of(model), ROWS, PLACES, LAYERS)
    for layer in LAYERS:
        caught = []
        module = lm_of(model).down_proj(layer)
        handle = module.register_forward_pre_hook(lambda _m, args, to=caught: to.append(args[0]))
        for row in ROWS:
            model(input_ids=torch.tensor([row]))
        handle.remove()
        each = [
            keys.view(len(row), -1)[place]
            for row, keys, places in zip(ROWS, caught, PLACES, strict=True)
            for place in places
        ]
        bound = model_rounding(
            lambda one, at=layer: keys_at(lm_of(one), ROWS, PLACES, [at])[at], model
        )
        assert_near(found[layer], torch.stack(each), bound)


def test_nothing_runs_above_the_highest_layer_and_no_hook_stays():
    model = tiny_gpt2(64)

    def fail(*_):
        raise AssertionError("a block above the highest layer ran")

    handle = model.transformer.h[3].register_forward_pre_hook(fail)
    keys_at(lm_of(model), ROWS, PLACES, LAYERS)
    handle.remove()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_products_of_half_precision_keys_are_summed_in_double():
    """The products themselves are float32, over the tokens of a batch."""
    model = tiny_gpt2(64).bfloat16()
    keys = keys_at(lm_of(model), ROWS, PLACES, LAYERS)
    sums = {}
    for _ in range(3):
        add_products(sums, keys)
    for layer in LAYERS:
        assert keys[layer].dtype == torch.float32
        exact = keys[layer].double()
        assert sums[layer].dtype == torch.float64
        bound = rounding(len(exact), torch.float32)
        assert_near(sums[layer], 3 * exact.T @ exact, bound, scale=3 * size(exact) ** 2)
