"""The architecture table against the installed transformers: one tiny random model a family."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from conftest import REQUESTS, recipe, seeded
from plain_memit import compute_z
from tolerances import assert_near, error, model_rounding, rounding, size
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.pytorch_utils import Conv1D

from editvc.editing.architectures import (
    Architecture,
    BlockError,
    LayersError,
    NoAttentionError,
    RefusedArchitectureError,
    UnknownArchitectureError,
    architecture_in,
    architecture_of,
    carry,
    known_model_types,
    read_block,
)
from editvc.editing.head import logits_of
from editvc.editing.hooks import first_tensor
from editvc.editing.targets import find_targets

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


@pytest.mark.parametrize("model_type", known_model_types())
def test_paths_and_orientation_are_those_of_the_installed_model(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    hidden = model.config.hidden_size
    assert architecture.depth(model) == model.config.num_hidden_layers == 3
    for layer in range(3):
        module = architecture.module(model, layer)
        assert isinstance(module, Conv1D if architecture.transposed else torch.nn.Linear)
        out = module.weight.shape[1 if architecture.transposed else 0]
        assert out == hidden
        assert model.state_dict()[architecture.weight_name(layer)] is not None
    ids = torch.arange(6)[None]
    seen = []
    handle = architecture.block(model, 2).register_forward_hook(
        lambda _m, _a, out: seen.append(first_tensor(out))
    )
    logits = model(input_ids=ids).logits
    handle.remove()
    normed = architecture.norm(model)(seen[0])
    bound = model_rounding(lambda one: one(input_ids=ids).logits, model)
    assert_near(logits_of(model, normed), logits, bound)


@pytest.mark.parametrize("model_type", known_model_types())
def test_targets_of_every_family_equal_plain_memit(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    model = model if model_type in FLOAT32 else model.double()
    used = recipe(layers=(1,) if model_type in POST_NORM else (0, 1), v_num_grad_steps=4)
    requests = [REQUESTS[0], REQUESTS[4]]
    architecture = architecture_of(model_type)
    place = (architecture.module if model_type in POST_NORM else architecture.block)(model, 1)

    def targets(one):
        return torch.stack([each.z for each in find_targets(one, tokenizer, requests, used)])

    plain = [compute_z(model, tokenizer, place, request, used) for request in requests]
    bound = model_rounding(targets, model, terms=len(tokenizer))
    assert_near(targets(model), torch.stack([hidden + delta for hidden, delta, _ in plain]), bound)


@pytest.mark.parametrize("model_type", known_model_types())
def test_what_a_down_projection_adds_arrives_where_targets_are(model_type, tokenizer):
    """Else residuals, which are asked for there, would not be what a weight gives."""
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    outputs = []
    added = torch.linspace(-1, 1, model.config.hidden_size, dtype=torch.float64)
    architecture.block(model, 1).register_forward_hook(
        lambda _m, _a, out: outputs.append(out if isinstance(out, torch.Tensor) else out[0])
    )
    ids = torch.arange(6)[None]
    model(input_ids=ids)
    architecture.module(model, 1).register_forward_hook(lambda _m, _a, out: out + added)
    model(input_ids=ids)
    arriving = (added * architecture.gain(model.config)).expand(1, 6, -1)
    # Sums of two, and their difference; behind a norm it is another vector altogether.
    off = error(outputs[1] - outputs[0], arriving, size(outputs[0]) + size(outputs[1]))
    assert off > 1e-3 if architecture.normed else off <= rounding(3)
    assert architecture.normed == (model_type in POST_NORM)


@pytest.mark.parametrize("model_type", known_model_types())
def test_attention_and_the_down_projection_give_all_that_a_block_adds(model_type, tokenizer):
    """Else what is restored or added there would be more, or less, than attention's own output."""
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    seen = {}

    def note(name):
        # A copy: Falcon adds attention's output to the MLP's in place.
        return lambda _m, _a, out: seen.update({name: first_tensor(out).clone()})

    architecture.block(model, 0).register_forward_hook(note("in"))
    architecture.attention_module(model, 1).register_forward_hook(note("attention"))
    architecture.module(model, 1).register_forward_hook(note("mlp"))
    architecture.block(model, 1).register_forward_hook(note("out"))
    model(input_ids=torch.arange(6)[None])
    assert seen["attention"].shape == (1, 6, model.config.hidden_size)
    added = (seen["attention"] + seen["mlp"].view(1, 6, -1)) * architecture.gain(model.config)
    off = error(seen["out"], seen["in"] + added, sum(map(size, seen.values())))
    assert off > 1e-3 if architecture.normed else off <= rounding(3)


def test_a_block_without_attention_says_what_to_add():
    architecture = replace(architecture_of("gpt2"), attention=None)
    with pytest.raises(NoAttentionError, match=r"'gpt2' does not say where attention's"):
        architecture.attention_module(None, 0)


@pytest.mark.parametrize("model_type", sorted(POST_NORM))
def test_behind_a_norm_the_last_block_can_be_edited_and_only_one(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    model = model if model_type in FLOAT32 else model.double()
    used = recipe(layers=(2,), v_num_grad_steps=4)

    def target(one):
        return find_targets(one, tokenizer, REQUESTS[6:], used)[0].z

    place = architecture_of(model_type).module(model, 2)
    hidden, delta, _ = compute_z(model, tokenizer, place, REQUESTS[6], used)
    bound = model_rounding(target, model, terms=len(tokenizer))
    assert_near(target(model), hidden + delta, bound)
    with pytest.raises(LayersError, match=r"in one layer, not in \[1, 2\]"):
        find_targets(model, tokenizer, REQUESTS[6:], recipe(layers=(1, 2)))


def test_an_unknown_type_shows_the_block_to_write():
    with pytest.raises(UnknownArchitectureError) as caught:
        architecture_of("mamba9")
    assert "mamba9" in str(caught.value)
    assert '[mamba9]\nlayers = "model.layers"' in caught.value.hint
    assert "gpt2" in caught.value.hint
    assert "`editvc arch MODEL`" in caught.value.hint


def test_a_confirmed_block_is_taken_before_the_table():
    block = (("down_proj", "ff"), ("final_norm", "n"), ("layers", "h"), ("transposed", True))
    architecture = architecture_of("mamba9", block)
    assert architecture == Architecture("mamba9", "h", "ff", "n", True)
    assert architecture.pairs == block


def test_a_model_carries_its_own_block_and_a_copy_does_too(tokenizer):
    model = tiny("gpt2", len(tokenizer))
    assert architecture_in(model) == architecture_of("gpt2")
    own = replace(architecture_of("gpt2"), down_proj="mlp.c_fc")
    carry(model, own)
    assert architecture_in(model) == architecture_in(deepcopy(model)) == own
    assert architecture_in(tiny("gpt2", len(tokenizer))) == architecture_of("gpt2")


@pytest.mark.parametrize("model_type", [*known_model_types(), "with space/and slash"])
def test_a_block_survives_its_file(model_type, tmp_path):
    known = architecture_of(model_type if model_type in known_model_types() else "gpt2")
    architecture = replace(known, model_type=f"{model_type}-new")
    (tmp_path / "block.toml").write_text(architecture.toml())
    assert read_block(tmp_path / "block.toml") == architecture


GOOD = 'layers = "h"\ndown_proj = "f"\nfinal_norm = "n"\ntransposed = false\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "exactly one block"),
        ("layers = 3", "exactly one block"),
        (f"[a]\n{GOOD}[b]\n{GOOD}", "exactly one block"),
        ("[a", "is not TOML"),
        (f"[gpt2]\n{GOOD}", "has model type 'gpt2' itself"),
        (f"[mixtral]\n{GOOD}", "has model type 'mixtral' itself"),
        (f"[a]\n{GOOD}down = 1", "down: there is no such key"),
        (f"[a]\n{GOOD}normed = 1", "normed: must be true or false, got 1"),
        (f"[a]\n{GOOD}factor = 0.5", "factor: must be a string, got 0.5"),
        ("[a]\n" + GOOD.replace("false", '"false"'), "transposed: must be true or false"),
        ("[a]\n" + GOOD.replace('final_norm = "n"\n', ""), "final_norm: is missing"),
    ],
)
def test_a_file_that_is_no_block_is_refused_by_what_is_wrong(text, said, tmp_path):
    (tmp_path / "block.toml").write_text(text)
    with pytest.raises(BlockError, match=said):
        read_block(tmp_path / "block.toml")


def test_a_family_that_cannot_be_edited_says_why():
    with pytest.raises(RefusedArchitectureError, match=r"'mixtral' .* mixture of experts"):
        architecture_of("mixtral")
    assert "mixtral" not in known_model_types()


def test_weight_names():
    assert architecture_of("gpt2").weight_name(3) == "transformer.h.3.mlp.c_proj.weight"
    assert architecture_of("llama").weight_name(0) == "model.layers.0.mlp.down_proj.weight"


def test_importing_the_table_imports_no_torch():
    code = (
        "import sys; from editvc.editing.architectures import architecture_of;"
        "architecture_of('gpt2');"
        "assert not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
