"""The architecture table against the installed transformers: one tiny random model a family."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS, recipe
from plain_memit import compute_z
from tiny_families import FLOAT32, POST_NORM, tiny
from tiny_models import lm_of
from tolerances import assert_near, error, model_rounding, rounding, size
from transformers.pytorch_utils import Conv1D

from editvc.core.edit_site import EditSite
from editvc.editing.target_search import find_targets
from editvc.models.architectures import (
    Architecture,
    BlockError,
    LayersError,
    NoAttentionError,
    RefusedArchitectureError,
    UnknownArchitectureError,
    architecture_of,
    known_model_types,
    read_block,
)
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel


@pytest.mark.parametrize("model_type", known_model_types())
def test_paths_and_orientation_are_those_of_the_installed_model(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    hidden = model.config.hidden_size
    assert lm_of(model).depth == model.config.num_hidden_layers == 3
    for layer in range(3):
        module = lm_of(model).down_proj(layer)
        assert isinstance(module, Conv1D if architecture.transposed else torch.nn.Linear)
        out = module.weight.shape[1 if architecture.transposed else 0]
        assert out == hidden
        assert model.state_dict()[architecture.weight_name(layer)] is not None
    ids = torch.arange(6)[None]
    seen = []
    handle = (
        lm_of(model)
        .block(2)
        .register_forward_hook(lambda _m, _a, out: seen.append(first_tensor(out)))
    )
    logits = model(input_ids=ids).logits
    handle.remove()
    normed = lm_of(model).final_norm(seen[0])
    bound = model_rounding(lambda one: one(input_ids=ids).logits, model)
    assert_near(lm_of(model).logits(normed), logits, bound)


@pytest.mark.parametrize("model_type", known_model_types())
def test_targets_of_every_family_equal_plain_memit(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    model = model if model_type in FLOAT32 else model.double()
    used = recipe(layers=(1,) if model_type in POST_NORM else (0, 1), v_num_grad_steps=4)
    requests = [REQUESTS[0], REQUESTS[4]]
    lm = lm_of(model)
    place = (lm.down_proj if model_type in POST_NORM else lm.block)(1)

    def targets(one):
        return torch.stack([each.z for each in find_targets(lm_of(one, tokenizer), requests, used)])

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
    lm_of(model).block(1).register_forward_hook(
        lambda _m, _a, out: outputs.append(out if isinstance(out, torch.Tensor) else out[0])
    )
    ids = torch.arange(6)[None]
    model(input_ids=ids)
    lm_of(model).down_proj(1).register_forward_hook(lambda _m, _a, out: out + added)
    model(input_ids=ids)
    arriving = (added * lm_of(model).gain(EditSite.BLOCK_OUTPUT)).expand(1, 6, -1)
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

    lm_of(model).block(0).register_forward_hook(note("in"))
    lm_of(model).attention_output(1).register_forward_hook(note("attention"))
    lm_of(model).down_proj(1).register_forward_hook(note("mlp"))
    lm_of(model).block(1).register_forward_hook(note("out"))
    model(input_ids=torch.arange(6)[None])
    assert seen["attention"].shape == (1, 6, model.config.hidden_size)
    added = (seen["attention"] + seen["mlp"].view(1, 6, -1)) * lm_of(model).gain(
        EditSite.BLOCK_OUTPUT
    )
    off = error(seen["out"], seen["in"] + added, sum(map(size, seen.values())))
    assert off > 1e-3 if architecture.normed else off <= rounding(3)


def test_a_block_without_attention_says_what_to_add():
    lm = LanguageModel(None, None, replace(architecture_of("gpt2"), attention=None))
    with pytest.raises(NoAttentionError, match=r"'gpt2' does not say where attention's"):
        lm.attention_output(0)


@pytest.mark.parametrize("model_type", sorted(POST_NORM))
def test_behind_a_norm_the_last_block_can_be_edited_and_only_one(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    model = model if model_type in FLOAT32 else model.double()
    used = recipe(layers=(2,), v_num_grad_steps=4)

    def target(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS[6:], used)[0].z

    place = lm_of(model).down_proj(2)
    hidden, delta, _ = compute_z(model, tokenizer, place, REQUESTS[6], used)
    bound = model_rounding(target, model, terms=len(tokenizer))
    assert_near(target(model), hidden + delta, bound)
    with pytest.raises(LayersError, match=r"in one layer, not in \[1, 2\]"):
        find_targets(lm_of(model, tokenizer), REQUESTS[6:], recipe(layers=(1, 2)))


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
        (f'[a]\n{GOOD}up_proj = "x"', "activation: is missing beside up_proj"),
        (f'[a]\n{GOOD}gate_proj = "x"', "up_proj: is missing beside gate_proj"),
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


def test_the_matrices_of_an_mlp():
    """Up, gate and down; one that holds two of them has one name."""
    parts = {
        "gpt2": {"up": "mlp.c_fc", "down": "mlp.c_proj"},
        "opt": {"up": "fc1", "down": "fc2"},
        "llama": {"up": "mlp.up_proj", "gate": "mlp.gate_proj", "down": "mlp.down_proj"},
        "phi3": {"up": "mlp.gate_up_proj", "down": "mlp.down_proj"},
    }
    for model_type, paths in parts.items():
        assert architecture_of(model_type).mlp_matrices == paths
    unknown = replace(architecture_of("gpt2"), up_proj=None, activation=None)
    assert unknown.mlp_matrices == {"down": "mlp.c_proj"}


def test_importing_the_table_imports_no_torch():
    code = (
        "import sys; from editvc.models.architectures import architecture_of;"
        "architecture_of('gpt2');"
        "assert not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
