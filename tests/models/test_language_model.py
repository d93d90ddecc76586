"""A model wherever accelerate put it, whole on a device or kept off it; and its own block."""

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
from editvc.core.methods.fine_tuning import FineTuningRecipe
from editvc.editing.fine_tuning import fine_tune
from editvc.editing.subject_states import subject_states
from editvc.editing.target_search import find_targets
from editvc.evaluation.probes import predicts_target
from editvc.models.architectures import architecture_of
from editvc.models.context_prefixes import sample_contexts
from editvc.models.forward import keys_at
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel
from editvc.models.offload import MissingWeights, OffloadedWeight
from editvc.models.tokenization import tokenize
from editvc.models.weights import apply_delta, delta_hook, edited
from editvc.statistics.entity_moments import Entity, sensitivity

accelerate = pytest.importorskip("accelerate")
cpu_offload, disk_offload = accelerate.cpu_offload, accelerate.disk_offload

LAYERS = (1, 2)


@pytest.fixture
def folder(tmp_path, tokenizer):
    tiny_gpt2(len(tokenizer)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def mapped(folder, device_map, **more):
    model = AutoModelForCausalLM.from_pretrained(folder, device_map=device_map, **more)
    return model.eval().requires_grad_(False)


FACTORS = torch.ones(32, 1, dtype=torch.float64), torch.ones(1, 128, dtype=torch.float64)


def a_delta():
    return Delta({1: Factored(*FACTORS)})


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


def kept_elsewhere(where, folder, tmp_path):
    """A model that accelerate has taken some or all weights of, to the processor or to disk."""
    if where == "cpu":
        return cpu_offload(mapped(folder, "cpu"), execution_device="cpu")
    if where == "disk":
        return disk_offload(mapped(folder, "cpu"), str(tmp_path / "off"), execution_device="cpu")
    some = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu",
            "lm_head": "cpu", "transformer.h.0": "cpu", "transformer.h.1": "disk",
            "transformer.h.2": "disk", "transformer.h.3": "cpu"}  # fmt: skip
    return mapped(folder, some, offload_folder=tmp_path / "off")


PASSES = {
    "targets": lambda lm: [
        part
        for one in find_targets(lm, REQUESTS, recipe(layers=LAYERS, v_num_grad_steps=4))
        for part in (one.z, *one.keys.values())
    ],
    "keys": lambda lm: [
        *keys_at(lm, [[1, 2], [3, 4, 5]], [range(2), range(1, 3)], LAYERS).values()
    ],
    "sensitivity": lambda lm: [sensitivity(lm, [Entity("France", ("{} is",))], LAYERS)],
    "states": lambda lm: [
        states for states in subject_states(
            lm, [row for (row,) in tokenize(lm.tokenizer, REQUESTS)], recipe(layers=LAYERS), 1,
            {0: delta_hook(Factored(*FACTORS))},
        )
    ],
}  # fmt: skip
"""What located edits are made of, each as a list of tensors."""


@pytest.mark.parametrize("where", ["cpu", "disk", "partly"])
@pytest.mark.parametrize("name", PASSES)
def test_an_offloaded_model_is_asked_like_any_other(where, name, folder, tokenizer, tmp_path):
    """On one processor, so every sum is the same: to the bit."""
    offloaded, plain = kept_elsewhere(where, folder, tmp_path), mapped(folder, "cpu")
    assert any(weight.device.type == "meta" for weight in offloaded.parameters())
    run = PASSES[name]
    found, expected = run(lm_of(offloaded, tokenizer)), run(lm_of(plain, tokenizer))
    assert len(found) == len(expected) > 0
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("where", ["cpu", "disk", "partly"])
def test_its_answers_are_the_same(where, folder, tokenizer, tmp_path):
    offloaded, plain = kept_elsewhere(where, folder, tmp_path), mapped(folder, "cpu")
    ours, theirs = lm_of(offloaded, tokenizer), lm_of(plain, tokenizer)
    assert ours.device.type == "cpu"
    assert sample_contexts(ours) == sample_contexts(theirs)
    assert predicts_target(ours, REQUESTS) == predicts_target(theirs, REQUESTS)
    assert generate(ours, "The capital of", 5) == generate(theirs, "The capital of", 5)


@pytest.mark.parametrize("where", ["cpu", "disk", "partly"])
def test_an_offloaded_weight_is_edited_and_put_back_and_no_file_written(
    where, folder, tokenizer, tmp_path
):
    offloaded, plain = kept_elsewhere(where, folder, tmp_path), mapped(folder, "cpu")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ids = torch.arange(6)[None]
    before = offloaded(input_ids=ids).logits
    with edited(lm_of(plain), a_delta()), edited(lm_of(offloaded), a_delta()):
        moved = offloaded(input_ids=ids).logits
        assert torch.equal(moved, plain(input_ids=ids).logits)
        assert not torch.equal(moved, before)
    with pytest.raises(ZeroDivisionError), edited(lm_of(offloaded), a_delta()):
        raise ZeroDivisionError
    assert torch.equal(offloaded(input_ids=ids).logits, before)
    for model in (offloaded, plain):
        apply_delta(lm_of(model), a_delta())
        apply_delta(lm_of(model), a_delta())
    assert torch.equal(offloaded(input_ids=ids).logits, plain(input_ids=ids).logits)
    assert {path: path.read_bytes() for path in files} == files


def test_a_method_that_searches_over_weights_refuses_one_that_is_offloaded(
    folder, tokenizer, tmp_path
):
    lm = lm_of(kept_elsewhere("partly", folder, tmp_path), tokenizer)
    with pytest.raises(OffloadedWeight, match="is offloaded"):
        fine_tune(lm, REQUESTS[:1], FineTuningRecipe(layers=(1,), method="ft"))


def test_a_model_without_weights_is_on_no_device(tokenizer):
    with torch.device("meta"):
        model = tiny_gpt2(len(tokenizer))
    lm = lm_of(model, tokenizer)
    with pytest.raises(MissingWeights, match="no values") as caught:
        _ = lm.device
    assert caught.value.name == "weight"
    with pytest.raises(MissingWeights):
        apply_delta(lm, a_delta())


def test_a_confirmed_block_goes_with_the_model_and_the_table_s_with_any_other(tokenizer):
    model = tiny_gpt2(len(tokenizer))
    assert LanguageModel.of(model, tokenizer).architecture == architecture_of("gpt2")
    own = replace(architecture_of("gpt2"), down_proj="mlp.c_fc")
    lm = LanguageModel.of(model, tokenizer, own)
    assert lm.architecture == own
    assert lm.down_proj(1) is model.transformer.h[1].mlp.c_fc
