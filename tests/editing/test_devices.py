"""Models that accelerate's device_map put somewhere: whole on one device, or refused."""

from __future__ import annotations

import pytest
import torch
from conftest import REQUESTS, recipe, tiny_gpt2
from tiny_models import same_parameters
from tolerances import assert_near, model_rounding
from transformers import AutoModelForCausalLM

from editvc.editing.architectures import architecture_of
from editvc.editing.contexts import sample_contexts
from editvc.editing.delta import Delta, Factored
from editvc.editing.devices import SpreadModelError, device_of
from editvc.editing.entities import Entity, sensitivity
from editvc.editing.loading import apply_delta, edited
from editvc.editing.locate import knows
from editvc.editing.passes import keys_at
from editvc.editing.targets import find_targets

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
    if device_of(model).type != "cpu":
        pytest.skip("`auto` took a GPU")
    used = recipe(layers=LAYERS, v_num_grad_steps=4)

    def target(one):
        return find_targets(one, tokenizer, REQUESTS[:1], used)[0].z

    bound = model_rounding(target, plain, terms=len(tokenizer))
    assert_near(target(model), target(plain), bound)
    for one in (model, plain):
        apply_delta(one, architecture_of("gpt2"), a_delta())
    assert same_parameters(model, plain)


def test_an_offloaded_model_is_refused_before_any_work(folder, tokenizer, tmp_path):
    spread = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu",
              "lm_head": "cpu", "transformer.h.0": "cpu", "transformer.h.1": "disk",
              "transformer.h.2": "disk", "transformer.h.3": "cpu"}  # fmt: skip
    model = mapped(folder, spread, offload_folder=tmp_path / "off")
    ids = torch.arange(6)[None]
    before = model(input_ids=ids).logits
    used, architecture = recipe(layers=LAYERS), architecture_of("gpt2")
    for act in (
        lambda: find_targets(model, tokenizer, REQUESTS[:1], used),
        lambda: keys_at(model, [[1, 2]], [range(2)], LAYERS),
        lambda: sample_contexts(model, tokenizer),
        lambda: knows(model, tokenizer, REQUESTS[:1]),
        lambda: sensitivity(model, tokenizer, [Entity("France", ("{} is",))], LAYERS),
        lambda: apply_delta(model, architecture, a_delta()),
        lambda: edited(model, architecture, a_delta()).__enter__(),
    ):
        with pytest.raises(SpreadModelError, match="on cpu, meta") as caught:
            act()
        assert 'device_map={"": "cpu"}' in caught.value.hint
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_model_without_weights_is_on_no_device(tokenizer):
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(SpreadModelError) as caught:
        device_of(model)
    assert caught.value.devices == ("meta",)
