"""A model whole on one device, wherever accelerate's device_map put it; and its own block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS, recipe, tiny_gpt2
from tiny_models import lm_of, same_parameters
from tolerances import assert_near, model_rounding
from transformers import AutoModelForCausalLM

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.editing.target_search import find_targets
from editvc.evaluation.probes import predicts_target
from editvc.models.architectures import architecture_of
from editvc.models.context_prefixes import sample_contexts
from editvc.models.forward import keys_at
from editvc.models.language_model import LanguageModel, SpreadModelError
from editvc.models.weights import apply_delta, edited
from editvc.statistics.entity_moments import Entity, sensitivity

pytest.importorskip("accelerate")

LAYERS = (1, 2)


@pytest.fixture
def folder(tmp_path, tokenizer):
    tiny_gpt2(len(tokenizer)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def mapped(folder, device_map, **more):
    model = AutoModelForCausalLM.from_pretrained(folder, device_map=device_map, **more)
    return model.eval().requires_grad_(False)


def a_delta():
    one = torch.ones(32, 1, dtype=torch.float64), torch.ones(1, 128, dtype=torch.float64)
    return Delta({1: Factored(*one)})


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"])
def test_a_model_mapped_to_one_device_is_edited_like_any_other(folder, tokenizer, device_map):
    model, plain = mapped(folder, device_map), tiny_gpt2(len(tokenizer))
    if lm_of(model).device.type != "cpu":
        pytest.skip("`auto` took a GPU")
    used = recipe(layers=LAYERS, v_num_grad_steps=4)

    def target(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS[:1], used)[0].z

    bound = model_rounding(target, plain, terms=len(tokenizer))
    assert_near(target(model), target(plain), bound)
    for one in (model, plain):
        apply_delta(lm_of(one), a_delta())
    assert same_parameters(model, plain)


def test_an_offloaded_model_is_refused_before_any_work(folder, tokenizer, tmp_path):
    spread = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu",
              "lm_head": "cpu", "transformer.h.0": "cpu", "transformer.h.1": "disk",
              "transformer.h.2": "disk", "transformer.h.3": "cpu"}  # fmt: skip
    model = mapped(folder, spread, offload_folder=tmp_path / "off")
    ids = torch.arange(6)[None]
    before = model(input_ids=ids).logits
    used = recipe(layers=LAYERS)
    for act in (
        lambda: find_targets(lm_of(model, tokenizer), REQUESTS[:1], used),
        lambda: keys_at(lm_of(model), [[1, 2]], [range(2)], LAYERS),
        lambda: sample_contexts(lm_of(model, tokenizer)),
        lambda: predicts_target(lm_of(model, tokenizer), REQUESTS[:1]),
        lambda: sensitivity(lm_of(model, tokenizer), [Entity("France", ("{} is",))], LAYERS),
        lambda: apply_delta(lm_of(model), a_delta()),
        lambda: edited(lm_of(model), a_delta()).__enter__(),
    ):
        with pytest.raises(SpreadModelError, match="on cpu, meta") as caught:
            act()
        assert 'device_map={"": "cpu"}' in caught.value.hint
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_model_without_weights_is_on_no_device(tokenizer):
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(SpreadModelError) as caught:
        _ = LanguageModel(model, tokenizer, architecture_of("gpt2")).device
    assert caught.value.devices == ("meta",)


def test_a_confirmed_block_goes_with_the_model_and_the_table_s_with_any_other(tokenizer):
    model = tiny_gpt2(len(tokenizer))
    assert LanguageModel.of(model, tokenizer).architecture == architecture_of("gpt2")
    own = replace(architecture_of("gpt2"), down_proj="mlp.c_fc")
    lm = LanguageModel.of(model, tokenizer, own)
    assert lm.architecture == own
    assert lm.down_proj(1) is model.transformer.h[1].mlp.c_fc
