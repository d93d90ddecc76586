"""An edit of every family from question to export: one tiny random model each, a square weight."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from model_fixtures import TEXT, recipe
from peft import LoraConfig, get_peft_model
from tiny_families import POST_NORM, tiny
from tiny_models import lm_of, same_parameters
from tolerances import (
    assert_near,
    assert_same_logits,
    longest_sum,
    model_rounding,
    moved_by_weights,
    rounding,
    size,
)
from transformers import AutoModelForCausalLM

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import solve
from editvc.core.facts import Request
from editvc.editing.locate import locate, locate_together
from editvc.editing.target_search import find_targets
from editvc.interchange.checkpoint_difference import difference
from editvc.interchange.hf_checkpoint import changes_of, export_hf
from editvc.interchange.peft_reader import read_adapter
from editvc.interchange.peft_writer import export_lora
from editvc.interchange.reload_check import verify_adapter
from editvc.models.architectures import architecture_of, known_model_types
from editvc.models.forward import keys_at
from editvc.models.hooks import first_tensor
from editvc.models.weights import apply_delta, edited

REQUEST = Request("London", "The river that runs through {}", "is")
"""The subject ends the question and the target is one token: a random model can be told that."""

SQUARE = {"falcon": "ffn_hidden_size", "gpt2": "n_inner", "gptj": "n_inner", "opt": "ffn_dim"}
FOUR_TIMES = {"bloom", "openai-gpt"}
"""Families whose inner size is four times the hidden one, whatever the config says."""

BIASED = {"gptj", "phi"}
"""Families whose head has a bias."""


def build(model_type, tokenizer):
    square = {} if model_type in FOUR_TIMES else {SQUARE.get(model_type, "intermediate_size"): 32}
    model = tiny(model_type, len(tokenizer), **square)
    if model_type == "openai-gpt":  # its blocks, and so the last one, end in a norm
        model.transformer.h[2].ln_2.weight += 5
        model.transformer.h[1].mlp.c_proj.weight *= 4  # the clamp is relative to what it gives
        return model
    lm_of(model).final_norm.weight += 5  # logits as far apart as a trained model's
    if model_type in POST_NORM:
        model.model.layers[1].post_feedforward_layernorm.weight += 4  # one MLP that can be heard
    return model


def used_for(model_type):
    return recipe(
        layers=(1,) if model_type in POST_NORM else (0, 1),
        contexts=("{}",),
        v_num_grad_steps=40,
        clamp_norm_factor=4.0,
        kl_factor=0.0,
        delivery_factor=1.0,
    )


def whitened(model, tokenizer, layers):
    """Factors of the second moment of the model's own keys, by layer."""
    rows = [tokenizer(text)["input_ids"] for text in sorted(set(TEXT))]
    keys = keys_at(lm_of(model), rows, [range(len(row)) for row in rows], layers)
    eye = torch.eye(keys[layers[0]].shape[1], dtype=torch.float64)
    return {
        layer: Whitening.of(seen.T.double() @ seen.double() / len(seen) + 1e-3 * eye)
        for layer, seen in keys.items()
    }


def solved(located, whitenings):
    return Delta(
        {
            layer: solve(
                located.keys[layer].double()[:, None],
                located.residuals[layer].double()[:, None],
                whitening,
            )
            for layer, whitening in whitenings.items()
        }
    )


def probability(model, tokenizer):
    """Of the whole target after the question."""
    asked = tokenizer(REQUEST.question)["input_ids"]
    told = tokenizer(" " + REQUEST.target, add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([asked + told])).logits[0]
    chances = logits.log_softmax(-1)[len(asked) - 1 : -1]
    return float(chances.gather(1, torch.tensor(told)[:, None]).sum().exp())


@pytest.mark.parametrize("model_type", known_model_types())
def test_an_edit_is_said_and_survives_both_exports(model_type, tokenizer, tmp_path):
    model = build(model_type, tokenizer)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    architecture, used = architecture_of(model_type), used_for(model_type)
    whitenings = whitened(model, tokenizer, used.layers)
    (located,) = locate(lm_of(model, tokenizer), [REQUEST], used, whitenings)
    delta = solved(located, whitenings)

    assert probability(model, tokenizer) < 0.1
    apply_delta(lm_of(model), delta)
    assert probability(model, tokenizer) > 0.9

    export_hf(tmp_path / "base", tmp_path / "out", changes_of(architecture, delta))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    assert same_parameters(again, model)

    export_lora(tmp_path / "lora", architecture, delta, base=str(tmp_path / "base"))
    ids = torch.tensor([tokenizer(REQUEST.question)["input_ids"]])
    bound = model_rounding(
        lambda one: one(input_ids=ids).logits, model, longest_sum(model) + delta.rank
    )
    worst = verify_adapter(tmp_path / "base", tmp_path / "lora", lm_of(model), [REQUEST.question])
    assert_near(worst, 0.0, bound, scale=size(model(input_ids=ids).logits))


@pytest.mark.parametrize("model_type", known_model_types())
def test_a_delta_goes_the_right_way_into_a_square_weight(model_type, tokenizer):
    model = build(model_type, tokenizer)
    used = used_for(model_type)
    module = lm_of(model).down_proj(1)
    if model_type not in FOUR_TIMES:
        assert tuple(module.weight.shape) == (32, 32)
    whitenings = whitened(model, tokenizer, used.layers)
    (located,) = locate(lm_of(model, tokenizer), [REQUEST], used, whitenings)
    delta, module = solved(located, whitenings), module.double()
    key = located.keys[1].double()
    before, weight = module(key[None])[0], module.weight.clone()
    apply_delta(lm_of(model), delta)
    expected = delta.layers[1].dense() @ key
    # Two products, each with a bias, of which the difference is taken.
    scale = (size(weight) + size(module.weight)) * size(key)
    assert_near(module(key[None])[0] - before, expected, rounding(len(key) + 2), scale)
    assert expected.norm() > 1


@pytest.mark.parametrize("model_type", ["granite", *sorted(POST_NORM)])
def test_alone_and_as_a_batch_of_one_ask_for_the_same_at_the_lowest_layer(model_type, tokenizer):
    model, used = build(model_type, tokenizer), used_for(model_type)
    whitenings = whitened(model, tokenizer, used.layers)
    alone = locate(lm_of(model, tokenizer), [REQUEST], used, whitenings)
    (together,) = locate_together(lm_of(model, tokenizer), [REQUEST], alone, used, whitenings)
    lowest = used.layers[0]

    def residual(one):
        return locate(lm_of(one, tokenizer), [REQUEST], used, whitenings)[0].residuals[lowest]

    # The batch adds what is missing to the hidden state and takes that off again, in float32.
    hidden = alone[0].figures["hidden"] / alone[0].figures["residual"]
    bound = model_rounding(residual, model) + rounding(2, torch.float32, scale=1 + hidden)
    assert_near(together.residuals[lowest], alone[0].residuals[lowest], bound)


@pytest.mark.parametrize("model_type", known_model_types())
def test_one_edited_layer_gives_just_the_target(model_type, tokenizer):
    """No lower layer moves its key, so what the weight then gives is what was searched with."""
    model, used = build(model_type, tokenizer), replace(used_for(model_type), layers=(1,))
    whitenings = whitened(model, tokenizer, used.layers)
    (target,) = find_targets(lm_of(model, tokenizer), [REQUEST], used)
    (located,) = locate(lm_of(model, tokenizer), [REQUEST], used, whitenings)
    apply_delta(lm_of(model), solved(located, whitenings))

    def output(one):
        lm, outputs = lm_of(one), []
        place = (lm.down_proj if model_type in POST_NORM else lm.block)(1)
        handle = place.register_forward_hook(
            lambda _m, _a, out: outputs.append(first_tensor(out)[0, -1])
        )
        one(input_ids=torch.tensor([tokenizer(REQUEST.question)["input_ids"]]))
        handle.remove()
        return outputs[0]

    # Beside the passes themselves, key, residual and weight are rounded to float32 once.
    stored = rounding(2, torch.float32) * moved_by_weights(output, model)
    assert_near(output(model), target.z, model_rounding(output, model) + stored)
    assert target.delta.norm() > 1


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", known_model_types())
def test_a_head_stays_tied_or_its_own_and_keeps_its_bias(model_type, tied, tokenizer, tmp_path):
    model = tiny(model_type, len(tokenizer), tie_word_embeddings=tied)
    model.save_pretrained(tmp_path / "base")
    architecture = architecture_of(model_type)
    delta = random_delta(architecture, model)
    export_hf(tmp_path / "base", tmp_path / "out", changes_of(architecture, delta))
    apply_delta(lm_of(model), delta)

    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    head, embedding = again.get_output_embeddings(), again.get_input_embeddings()
    assert (head.weight is embedding.weight) == tied
    assert (head.bias is not None) == (model_type in BIASED)
    assert head.bias is None or torch.equal(head.bias, model.get_output_embeddings().bias)
    assert same_parameters(again, model)


def random_delta(architecture, model):
    """Of rank two, in the last block."""
    weight = lm_of(model).down_proj(2).weight
    u, v = reversed(weight.shape) if architecture.transposed else weight.shape
    generator = torch.Generator().manual_seed(4)

    def factor(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Delta({2: Factored(factor(u, 2), factor(2, v))})


@pytest.mark.parametrize("model_type", known_model_types())
def test_imports_of_every_family(model_type, bos_tokenizer, tmp_path):
    """A whole difference is the other checkpoint; an adapter of all linear modules is PEFT's."""
    architecture, model = architecture_of(model_type), build(model_type, bos_tokenizer)
    model.save_pretrained(tmp_path / "base")
    draw, ids = torch.Generator().manual_seed(2), torch.tensor([[5, 61, 7, 80]])
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval().requires_grad_(False)
    for parameter in other.parameters():
        parameter += 0.01 * torch.randn(parameter.shape, generator=draw)
    other.save_pretrained(tmp_path / "other")
    made = difference(tmp_path / "other", tmp_path / "base", architecture, energy=1.0)
    model = model.double()
    with torch.no_grad(), edited(lm_of(model), made.delta):
        assert_same_logits(model, other, ids, stored=1)  # the difference
    export_hf(tmp_path / "base", tmp_path / "hf", changes_of(architecture, made.delta))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert_same_logits(again, other, ids, stored=2)  # the difference, and its sum with the base
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(2)
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
        peft = get_peft_model(base, config).eval()
        peft.save_pretrained(tmp_path / "adapter")
    taken = read_adapter(tmp_path / "adapter", tmp_path / "base", architecture)
    assert len(taken.delta.layers) == lm_of(model).depth
    with torch.no_grad(), edited(lm_of(model), taken.delta):
        assert_same_logits(model, peft, ids, stored=2, rank=2)  # two factors
