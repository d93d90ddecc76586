"""Tiny random models of every family of the architecture table."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import seeded
from transformers import CONFIG_MAPPING, AutoConfig

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FLOAT32 = {"bloom", "gemma2"}
"""Families whose softmax, in float32 always, gives NaN for float64 padding."""
POST_NORM = {"gemma2", "gemma3_text", "olmo2", "openai-gpt"}
GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "initializer_range": 0.2}
ENDS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
SIZES = {
    "bloom": {"hidden_size": 32, "n_layer": 3, "n_head": 4, "initializer_range": 0.2},
    "falcon": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_hidden_size": 48,
        "initializer_range": 0.2,
    },
    "gemma2": COMMON | {"sliding_window": 6},
    "gemma3_text": COMMON | {"sliding_window": 6},
    "gpt2": GPT,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "max_position_embeddings": 128,
        "intermediate_size": 48,
        "initializer_range": 0.2,
    },
    "gptj": GPT | {"rotary_dim": 4},
    "granite": COMMON
    | {"residual_multiplier": 0.4, "embedding_multiplier": 3.0, "logits_scaling": 0.5},
    "openai-gpt": GPT,
    "opt": COMMON | {"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.2},
}


def tiny(model_type, vocabulary, **changes):
    """A random model, with biases and norms that are not those of an untrained one."""
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model_type}")
    values = SIZES.get(model_type, COMMON) | ENDS | changes
    model = seeded(AutoConfig.for_model(model_type, vocab_size=vocabulary, **values))
    generator = torch.Generator().manual_seed(9)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model
