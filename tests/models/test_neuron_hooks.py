"""Neurons beside a model's own, against a model that is really wider."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy

import pytest
import torch
from tiny_families import FLOAT32, tiny
from tiny_models import lm_of, same_parameters
from tolerances import assert_near, error, longest_sum, model_rounding
from transformers import AutoModelForCausalLM

from editvc.algebra.neurons import Neurons
from editvc.models.architectures import NoUpProjError, architecture_of, known_model_types
from editvc.models.hooks import StopForward
from editvc.models.neuron_hooks import attach, widened

MORE = 5
LAYERS = (0, 2)
IDS = torch.arange(14).view(2, 7)


def random_neurons(lm, seed):
    """Of the size of the model's own."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    u = lm.hidden_size
    return Neurons(
        inside=draw(MORE, u),
        bias=None if lm.up_proj(0).bias is None else draw(MORE),
        beside=None if lm.architecture.gate_proj is None else draw(MORE, u),
        down=draw(u, MORE),
    )


def wider_model(lm, neurons):
    """A model of the config with a larger inner size, with zeros where a layer has no neurons."""
    config, block, v = deepcopy(lm.config), lm.architecture, lm.inner_size
    setattr(config, block.width, v + MORE)
    wide = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False).to(lm.model.dtype)
    values = lm.model.state_dict()
    for layer in range(lm.depth):
        more = neurons.get(layer)
        if more is None:
            nothing = torch.zeros(MORE, lm.hidden_size, dtype=torch.float64)
            more = Neurons(nothing, nothing[:, 0], nothing, nothing.T)

        def grow(path, name, rows, after, layer=layer):
            """Rows of a matrix, or numbers of a bias, put behind the first ``after``."""
            key = f"{block.layers}.{layer}.{path}.{name}"
            if key in values:
                flip = block.transposed and name == "weight"
                old = values[key].T if flip else values[key]
                if rows is None:
                    rows = old.new_zeros(MORE)
                new = torch.cat([old[:after], rows.to(old), old[after:]])
                values[key] = new.T if flip else new

        if block.gate_proj is None:
            grow(block.up_proj, "weight", more.inside, v)
            grow(block.up_proj, "bias", more.bias, v)
        else:
            # Where one matrix holds both, the gate's half must grow last: it stands in front.
            behind = v if block.gate_proj != block.up_proj else 2 * v
            grow(block.up_proj, "weight", more.beside, behind)
            grow(block.up_proj, "bias", None, behind)
            grow(block.gate_proj, "weight", more.inside, v)
            grow(block.gate_proj, "bias", more.bias, v)
        down = block.weight_name(layer)
        axis = 0 if block.transposed else 1
        columns = more.down.T if block.transposed else more.down
        values[down] = torch.cat([values[down], columns.to(values[down])], dim=axis)
    wide.load_state_dict(values)
    return wide


def family(model_type, tokenizer, **changes):
    model = tiny(model_type, len(tokenizer), **changes)
    lm = lm_of(model if model_type in FLOAT32 else model.double())
    return lm, {layer: random_neurons(lm, layer) for layer in LAYERS}


def logits(model):
    return model(input_ids=IDS).logits


def assert_as_wide(lm, neurons):
    wide = wider_model(lm, neurons)
    with widened(lm, neurons) as same:
        assert same is lm
        found = logits(lm.model)
    # What the neurons give is summed apart and added: one sum of two more.
    bound = model_rounding(logits, wide, longest_sum(wide) + 1)
    assert_near(found, logits(wide), bound)
    assert error(found, logits(lm.model)) > 1e-2, "neurons that say something"


@pytest.mark.parametrize("model_type", known_model_types())
def test_neurons_give_what_a_wider_model_gives(model_type, tokenizer):
    if architecture_of(model_type).width is None:
        pytest.skip(f"no {model_type} can be wider: its code fixes the MLP's inner size")
    assert_as_wide(*family(model_type, tokenizer))


def test_a_gated_mlp_with_biases_has_one_in_its_gate(tokenizer):
    lm, neurons = family("llama", tokenizer, mlp_bias=True)
    assert neurons[0].bias is not None
    assert_as_wide(lm, neurons)


@pytest.mark.parametrize("model_type", known_model_types())
def test_without_them_the_model_is_itself_again(model_type, tokenizer):
    lm, neurons = family(model_type, tokenizer)
    copy, before = deepcopy(lm.model), logits(lm.model)
    with widened(lm, neurons):
        first = logits(lm.model)
        assert same_parameters(lm.model, copy)
        with lm.eval_mode() as handles, suppress(StopForward):

            def stop(_module, _args):
                raise StopForward

            handles.append(lm.down_proj(2).register_forward_pre_hook(stop))
            lm.model(input_ids=IDS[:, :3])
        assert torch.equal(logits(lm.model), first)
    assert error(first, before) > 1e-2
    assert torch.equal(logits(lm.model), before)
    for module in lm.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_sets_of_neurons_add_up_in_any_order(model_type, tokenizer):
    lm, neurons = family(model_type, tokenizer)
    one, other = neurons[0], random_neurons(lm, 7)
    with widened(lm, {0: Neurons.concatenated([one, other])}):
        together = logits(lm.model)
    with widened(lm, {0: other}), widened(lm, {0: one}):
        apart = logits(lm.model)
    assert_near(apart, together, model_rounding(logits, lm.model, longest_sum(lm.model) + 1))


def test_what_fails_between_leaves_no_hook(tokenizer):
    lm, neurons = family("llama", tokenizer)
    with pytest.raises(RuntimeError, match="stopped"), widened(lm, neurons):
        raise RuntimeError("stopped")
    silent = lm_of(lm.model, up_proj=None, gate_proj=None, activation=None, width=None)
    with pytest.raises(NoUpProjError):
        attach(silent, neurons)
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in lm.model.modules())
