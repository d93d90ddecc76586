"""Blocks found from structure alone, and blocks that a model contradicts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from model_fixtures import seeded
from tiny_families import COMMON, ENDS, GPT, tiny
from tiny_models import lm_of
from tolerances import assert_near, error, rounding, size
from transformers import CONFIG_MAPPING, AutoConfig

from editvc.core.edit_site import EditSite
from editvc.models.architecture_check import arrivals, check_block
from editvc.models.architecture_discovery import find_block
from editvc.models.architectures import Architecture, architecture_of, known_model_types
from editvc.models.language_model import LanguageModel
from editvc.models.structure import StructureError, config_in

MULTIPLIER = "residual_multiplier"
USUAL = ("model.layers", "mlp.down_proj", "model.norm", False)
GATED = {
    "up_proj": "mlp.up_proj",
    "gate_proj": "mlp.gate_proj",
    "activation": "hidden_act",
    "width": "intermediate_size",
}


def plain(up_proj, activation="hidden_act", width="intermediate_size"):
    return {"up_proj": up_proj, "activation": activation, "width": width}


UNKNOWN = {
    "arcee": (COMMON, USUAL, plain("mlp.up_proj")),
    "biogpt": (
        COMMON,
        ("biogpt.layers", "fc2", "biogpt.layer_norm", False),
        {"attention": "self_attn.out_proj"} | plain("fc1"),
    ),
    "cohere": (COMMON, USUAL, GATED),
    "glm4": (
        COMMON,
        USUAL,
        {"normed": True} | GATED | dict.fromkeys(("up_proj", "gate_proj"), "mlp.gate_up_proj"),
    ),
    "granite_swa": (COMMON | {MULTIPLIER: 0.4}, USUAL, {"factor": MULTIPLIER} | GATED),
    "olmo": (COMMON, USUAL, GATED),
    "olmo3": (COMMON, USUAL, {"normed": True} | GATED),
    "persimmon": (
        COMMON,
        ("model.layers", "mlp.dense_4h_to_h", "model.final_layernorm", False),
        {"attention": "self_attn.dense"} | plain("mlp.dense_h_to_4h"),
    ),
    "gpt-sw3": (
        GPT,
        ("transformer.h", "mlp.c_proj", "transformer.ln_f", True),
        {"attention": "attn.c_proj"} | plain("mlp.c_fc", "activation_function", "n_inner"),
    ),
    # Its activation has weights of its own in each layer.
    "apertus": (COMMON, USUAL, {}),
}  # fmt: skip
"""Families outside the table: sizes, what the block must say, and what differs from the default."""


def config_of(model_type, values=COMMON, **changes):
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model_type}")
    return AutoConfig.for_model(model_type, vocab_size=96, **(values | ENDS | changes))


@pytest.mark.parametrize("model_type", sorted({*known_model_types()} - {"openai-gpt"}))
def test_the_structure_of_every_known_family_shows_its_block(model_type, tokenizer):
    found = find_block(tiny(model_type, len(tokenizer)).config)
    # What files call a weight is in no config.
    assert found.architecture == replace(architecture_of(model_type), renamed={})
    assert found.measured


@pytest.mark.parametrize("model_type", UNKNOWN)
def test_blocks_of_families_outside_the_table(model_type):
    values, paths, rest = UNKNOWN[model_type]
    config = config_of(model_type, values)
    if model_type == "gpt-sw3":
        config.model_type = model_type
    found = find_block(config)
    rest = {"attention": "self_attn.o_proj"} | rest
    assert found.architecture == replace(
        Architecture(found.architecture.model_type, *paths), **rest
    )
    assert found.measured
    check_block(LanguageModel(seeded(config), None, found.architecture))


def test_what_is_found_is_found_again_and_no_generator_moves():
    before = torch.random.get_rng_state()
    assert find_block(config_of("olmo3")) == find_block(config_of("olmo3"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_attention_output_that_nothing_hears_or_that_others_hear_is_refused(tokenizer):
    model = tiny("llama", len(tokenizer), num_key_value_heads=4)
    through = lm_of(model, attention="self_attn.v_proj")
    with pytest.raises(StructureError, match="v_proj gives at a token moves others"):
        check_block(through)
    for block in model.model.layers:
        block.self_attn.spare = torch.nn.Linear(32, 32)
    with pytest.raises(StructureError, match="spare gives arrives nowhere"):
        check_block(lm_of(model, attention="self_attn.spare"))


def test_where_no_narrow_model_can_be_built_nothing_is_said_of_norms():
    values = GPT | {"rotary_dim": 8, "n_embd": 64}
    config = config_of("codegen", values)
    found = find_block(config)
    paths = ("transformer.h", "mlp.fc_out", "transformer.ln_f", False)
    assert (found.architecture, found.measured) == (Architecture("codegen", *paths), False)
    check_block(
        LanguageModel(seeded(config), None, found.architecture)
    )  # as init does with the real one


@pytest.mark.parametrize(
    ("model_type", "values", "said"),
    [
        ("olmo", COMMON | {"intermediate_size": 32}, "ambiguous: down projections: .*gate_proj"),
        ("olmoe", COMMON | {"num_experts": 4}, "modules or stacked weights"),
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 2}, "modules or stacked weights"),
        ("t5", {}, "builds no causal language model"),
        ("bert", COMMON, "ambiguous: final norms: none"),
        ("glm4_moe", COMMON | {"first_k_dense_replace": 1}, "block 1 is not like block 0"),
        ("openai-gpt", GPT, "ambiguous: final norms: none"),
        ("minicpm3", {"num_hidden_layers": 3}, r"arrives 0\.8083-fold, .* but none"),
    ],
)  # fmt: skip
def test_a_structure_that_shows_no_block_says_why(model_type, values, said):
    with pytest.raises(StructureError, match=said):
        find_block(config_of(model_type, values))


def test_a_config_that_transformers_does_not_know(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba9"}))
    with pytest.raises(StructureError, match="'mamba9': transformers cannot read") as caught:
        config_in(tmp_path, "mamba9")
    assert "never run" in caught.value.hint


@pytest.mark.parametrize("model_type", ["gpt2", "bloom", "granite", "gemma2", "gptj"])
def test_what_arrives_is_what_two_passes_show(model_type, tokenizer):
    """Each block run twice in one pass, against whole passes with and without the vector."""
    model = tiny(model_type, len(tokenizer)).double()
    lm = lm_of(model)
    expected = None if lm.architecture.normed else lm.gain(EditSite.BLOCK_OUTPUT)
    ids = torch.arange(5)[None]
    for layer, found in enumerate(arrivals(lm)):
        outputs = []
        added = torch.linspace(-1, 1, model.config.hidden_size, dtype=torch.float64)
        block = (
            lm_of(model)
            .block(layer)
            .register_forward_hook(
                lambda _m, _a, out, outputs=outputs: outputs.append(
                    out if isinstance(out, torch.Tensor) else out[0]
                )
            )
        )
        model(input_ids=ids)
        down = (
            lm_of(model)
            .down_proj(layer)
            .register_forward_hook(lambda _m, _a, out, added=added: out + added)
        )
        model(input_ids=ids)
        block.remove()
        down.remove()
        moved = outputs[1] - outputs[0]
        if found is None:
            ratio = moved @ added / (added @ added)
            assert expected is None
            assert error(moved, ratio[..., None] * added) > 1e-2
        else:
            # Three sums of two and their difference, seen against a vector added to each of them.
            scale = sum(map(size, outputs)) + size(added)
            assert_near(moved, (found * added).expand_as(moved), rounding(4), scale)
            # The gain is a quotient of sums over two tokens of such differences.
            assert_near(found, expected, rounding(2 * len(added) + 4), scale / size(added))


def test_what_is_no_mlp_output_is_refused(tokenizer):
    values = {"num_key_value_heads": 4, "intermediate_size": 48}
    model = tiny("llama", len(tokenizer), **values)
    through_attention = lm_of(model, down_proj="self_attn.v_proj")
    with pytest.raises(StructureError, match="moves others: attention stands"):
        check_block(through_attention)
    for block in model.model.layers:
        block.mlp.spare = torch.nn.Linear(48, 32)
    with pytest.raises(StructureError, match="arrives 0-fold"):
        check_block(lm_of(model, down_proj="mlp.spare"))


@pytest.mark.parametrize(
    ("model_type", "change", "said"),
    [
        ("llama", {"layers": "model.blocks"}, "does not fit the model"),
        ("llama", {"down_proj": "mlp.fc2"}, "does not fit the model"),
        ("llama", {"final_norm": "model.ln"}, "does not fit the model"),
        ("llama", {"final_norm": "model.embed_tokens"}, "logits are not the head's"),
        ("llama", {"transposed": True}, "Linear: transposed is wrong"),
        ("llama", {"down_proj": "mlp.act_fn"}, "SiLU.*: transposed is wrong"),
        ("llama", {"down_proj": "mlp.up_proj"}, "gives 48 numbers"),
        ("llama", {"normed": True}, "layer 0 gives arrives 1-fold .* not through a norm"),
        ("gpt2", {"transposed": False}, "Conv1D: transposed is wrong"),
        ("gemma2", {"normed": False}, "arrives through a norm .* not 1-fold"),
        ("granite", {"factor": None}, "arrives 0.4-fold .* not 1-fold"),
        ("granite", {"factor": "logits_scaling"}, "arrives 0.4-fold .* not 0.5-fold"),
        ("granite", {"factor": "no_such_number"}, "does not fit the model"),
        ("bloom", {"final_norm": "transformer.word_embeddings_layernorm"}, "not the head's"),
        ("llama", {"attention": "self_attn.dense"}, "does not fit the model"),
        ("llama", {"attention": "self_attn"}, "no linear map .*: attention is wrong"),
        ("llama", {"attention": "mlp.up_proj"}, "no linear map .*: attention is wrong"),
        ("gpt2", {"attention": "attn.c_attn"}, "no linear map .*: attention is wrong"),
        ("bloom", {"attention": "self_attention.query_key_value"}, "no linear map"),
        ("llama", {"up_proj": "mlp.fc1"}, "does not fit the model"),
        ("llama", {"gate_proj": "mlp.act_fn"}, "act_fn is no linear map .*: gate_proj is wrong"),
        ("phi3", {"gate_proj": None}, "to 48 numbers: up_proj is wrong"),
        ("llama", {"gate_proj": "mlp.up_proj"}, "to 96 numbers: gate_proj is wrong"),
        (
            "llama",
            {"gate_proj": "mlp.up_proj", "up_proj": "mlp.gate_proj"},
            r"not hidden_act\(mlp.up_proj\) \* mlp.gate_proj as the block says, "
            r"but hidden_act\(mlp.gate_proj\) \* mlp.up_proj",
        ),
        ("llama", {"gate_proj": None}, r"not hidden_act\(mlp.up_proj\) as .*, but hidden_act\("),
        ("llama", {"activation": "gelu"}, r"not gelu\(mlp.gate_proj\) \* .*, but hidden_act\("),
        ("gpt2", {"activation": "gelu"}, r"not gelu\(mlp.c_fc\) .*, but activation_function\("),
        ("openai-gpt", {"activation": "afn"}, r"not afn\(mlp.c_fc\) .*, but gelu_pytorch_tanh\("),
        ("phi3", {"activation": "relu"}, r"not relu\(first half\) \* second half of mlp.gate_up"),
        ("llama", {"activation": "swoosh"}, "no activation 'swoosh': activation is wrong"),
        ("opt", {"width": "intermediate_size"}, "intermediate_size does not say how wide"),
        ("bloom", {"width": "n_inner"}, "n_inner does not say how wide"),
    ],
)
def test_a_block_that_the_model_contradicts_is_refused(model_type, change, said, tokenizer):
    model = tiny(model_type, len(tokenizer))
    check_block(lm_of(model))
    with pytest.raises(StructureError, match=said):
        check_block(lm_of(model, **change))
    assert not any(module._forward_hooks for module in model.modules()), "no hook stays"
