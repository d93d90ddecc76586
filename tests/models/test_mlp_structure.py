"""How MLPs begin: found by what they do, whatever their matrices are called."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_families import tiny
from tiny_models import lm_of

from editvc.models.architecture_check import check_block
from editvc.models.architectures import NoUpProjError, known_model_types
from editvc.models.mlp_structure import check_mlp, find_mlp
from editvc.models.structure import StructureError

SILENT = {"up_proj": None, "gate_proj": None, "activation": None, "width": None}


@pytest.mark.parametrize("model_type", known_model_types())
def test_the_mlp_of_every_family_is_found_and_agrees(model_type, tokenizer):
    lm = lm_of(tiny(model_type, len(tokenizer)))
    assert find_mlp(replace(lm, architecture=replace(lm.architecture, **SILENT))) == lm.architecture
    check_mlp(lm)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rounding_of_another_dtype_contradicts_nothing(dtype, tokenizer):
    for model_type in ("bloom", "gpt2", "llama"):
        check_mlp(lm_of(tiny(model_type, len(tokenizer)).to(dtype)))


def test_where_the_weights_are_tiny_activations_are_still_told_apart(tokenizer):
    """For small numbers all of them are nearly linear."""
    model = tiny("gpt2", len(tokenizer))
    with torch.no_grad():
        for block in model.transformer.h:
            block.mlp.c_fc.weight.mul_(1e-6)
            block.mlp.c_fc.bias.mul_(1e-6)
    check_mlp(lm_of(model))
    with pytest.raises(StructureError, match="but activation_function"):
        check_mlp(lm_of(model, activation="gelu"))


def up_squared(mlp, x):
    return mlp.down_proj(mlp.up_proj(x) ** 2)


def gate_of_another_input(mlp, x):
    return mlp.down_proj(mlp.act_fn(mlp.gate_proj(2 * x)) * mlp.up_proj(x))


def gate_of_the_token_before(mlp, x):
    gates = mlp.gate_proj(x).roll(1, dims=1)
    return mlp.down_proj(mlp.act_fn(gates) * mlp.up_proj(x))


def scaled_gate(mlp, x):
    return mlp.down_proj(mlp.act_fn(0.9 * mlp.gate_proj(x)) * mlp.up_proj(x))


@pytest.mark.parametrize(
    "forward", [up_squared, gate_of_another_input, gate_of_the_token_before, scaled_gate]
)
@pytest.mark.parametrize("layers", [(0, 1, 2), (2,)])
def test_an_mlp_of_another_form_is_none_that_editvc_knows(forward, layers, tokenizer):
    model = tiny("llama", len(tokenizer))
    for layer in layers:
        mlp = model.model.layers[layer].mlp
        mlp.forward = lambda x, mlp=mlp: forward(mlp, x)
    found = find_mlp(lm_of(model))
    assert found == replace(lm_of(model).architecture, **SILENT)
    assert found.key_formula is None
    with pytest.raises(StructureError, match="as the block says, and nothing else") as caught:
        check_mlp(lm_of(model))
    assert "no gated edits" in caught.value.hint


def test_a_block_that_is_silent_about_the_mlp_is_checked_without_it(tokenizer):
    model = tiny("llama", len(tokenizer))
    for layer in model.model.layers:
        layer.mlp.forward = lambda x, mlp=layer.mlp: up_squared(mlp, x)
    check_block(lm_of(model, **SILENT))
    with pytest.raises(StructureError, match="as the block says, and nothing else"):
        check_block(lm_of(model))
    with pytest.raises(NoUpProjError, match="'llama' does not say where its MLP begins"):
        lm_of(model, **SILENT).up_proj(0)
    with pytest.raises(NoUpProjError):
        _ = lm_of(model, **SILENT).activation


def test_one_matrix_with_the_gate_behind_is_none_that_editvc_knows(tokenizer):
    model = tiny("phi3", len(tokenizer))
    for layer in model.model.layers:

        def forward(x, mlp=layer.mlp):
            up, gate = mlp.gate_up_proj(x).chunk(2, dim=-1)
            return mlp.down_proj(mlp.activation_fn(gate) * up)

        layer.mlp.forward = forward
    assert find_mlp(lm_of(model)) == lm_of(model, **SILENT).architecture


def test_an_activation_with_weights_is_no_function_of_its_name(tokenizer):
    model = tiny("llama", len(tokenizer), hidden_act="prelu")
    for layer in model.model.layers:
        layer.mlp.act_fn.weight.fill_(0.25)  # as a new one has it, for now
    assert find_mlp(lm_of(model)) == lm_of(model, **SILENT).architecture


def test_a_map_that_does_not_run_and_one_that_writes_into_its_own(tokenizer):
    model = tiny("llama", len(tokenizer))
    for layer in model.model.layers:
        layer.mlp.a_spare = torch.nn.Linear(32, 48)

        def forward(x, mlp=layer.mlp):
            value = torch.nn.functional.silu(mlp.gate_proj(x), inplace=True)
            return mlp.down_proj(value.mul_(mlp.up_proj(x)))

        layer.mlp.forward = forward
    assert find_mlp(lm_of(model)) == lm_of(model).architecture


def test_nothing_stays_on_the_model_and_no_generator_moves(tokenizer):
    model, ids = tiny("llama", len(tokenizer)), torch.arange(5)[None]
    before, state = model(input_ids=ids).logits, torch.random.get_rng_state()
    find_mlp(lm_of(model))
    check_mlp(lm_of(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(model(input_ids=ids).logits, before)
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
