"""From folders to identities, models and answers; every way a folder can be no base."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from model_fixtures import tiny_gpt2, tiny_llama
from safetensors.torch import load_file, save_file
from transformers import tokenization_utils_base

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.core.compute import Compute
from editvc.models.architectures import UnknownArchitectureError, architecture_of
from editvc.models.fingerprint import BaseMismatchError, describe, require_same
from editvc.models.generation import generate
from editvc.models.loading import load
from editvc.models.source import ModelNotFoundError, open_model, resolve
from editvc.models.tokenization import SlowTokenizerError
from editvc.models.weights import apply_delta, edited

FAMILIES = {"gpt2": tiny_gpt2, "llama": tiny_llama}


@pytest.fixture(params=["gpt2", "llama"])
def folder(request, tmp_path, tokenizer):
    model = FAMILIES[request.param](len(tokenizer))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def a_delta(base, layers=(0, 2)):
    generator = torch.Generator().manual_seed(1)

    def factor(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    u, v = base.hidden_size, base.inner_size
    return Delta({layer: Factored(factor(u, 2), factor(2, v)) for layer in layers})


def test_describe_reads_the_identity_without_the_model(folder):
    base = describe(replace(open_model(str(folder)), source="tiny"))
    lm = load(open_model(str(folder)))
    architecture = architecture_of(base.model_type)
    assert base.layers == lm.depth == 4
    assert [name for name, _ in base.weights] == sorted(
        architecture.weight_name(layer) for layer in range(4)
    )
    rows, columns = lm.weight(0).shape
    expected = (columns, rows) if architecture.transposed else (rows, columns)
    assert (base.hidden_size, base.inner_size) == expected
    assert (lm.hidden_size, lm.inner_size) == expected
    moved = replace(open_model(str(folder)), source="elsewhere", revision="v2")
    assert describe(moved).id == base.id


def test_a_changed_tensor_is_named(folder):
    base = describe(replace(open_model(str(folder)), source="tiny"))
    name = base.weights[1][0]
    tensors = load_file(folder / "model.safetensors")
    tensors[name][3, 3] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    found = describe(replace(open_model(str(folder)), source="tiny"))
    with pytest.raises(BaseMismatchError, match=name) as caught:
        require_same(base, found, folder)
    assert caught.value.part == f"tensor {name}"
    require_same(base, replace(base, source="moved"), folder)


def test_a_changed_tokenizer_or_config_is_named(folder):
    base = describe(replace(open_model(str(folder)), source="tiny"))
    config = json.loads((folder / "config.json").read_text())
    config["transformers_version"] = "0.0"
    (folder / "config.json").write_text(json.dumps(config))
    require_same(base, describe(replace(open_model(str(folder)), source="tiny")), folder)
    config["attention_bias"] = config["scale_attn_weights"] = "changed"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseMismatchError, match="config"):
        require_same(base, describe(replace(open_model(str(folder)), source="tiny")), folder)


def test_names_without_their_prefix_are_the_same_model(tmp_path, tokenizer):
    """GPT-2's published files call ``transformer.h.0...`` just ``h.0...``."""
    model = tiny_gpt2(len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    base = describe(replace(open_model(str(tmp_path)), source="tiny"))
    tensors = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert describe(replace(open_model(str(tmp_path)), source="tiny")).id == base.id


def test_load_gives_float32_in_evaluation_mode(folder):
    lm = load(open_model(str(folder)))
    assert not lm.model.training
    assert {parameter.dtype for parameter in lm.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert lm.tokenizer.is_fast
    half = load(open_model(str(folder)), Compute("cpu", "float16")).model
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}


def test_apply_delta_adds_in_float64_in_the_right_orientation(folder):
    lm = load(open_model(str(folder)))
    base = describe(replace(open_model(str(folder)), source="tiny"))
    architecture = architecture_of(base.model_type)
    delta = a_delta(base)
    before = {layer: lm.weight(layer).clone() for layer in range(4)}
    apply_delta(lm, delta)
    for layer in range(4):
        added = torch.zeros(base.hidden_size, base.inner_size, dtype=torch.float64)
        if layer in delta.layers:
            added = delta.layers[layer].left @ delta.layers[layer].right
        added = added.T if architecture.transposed else added
        expected = (before[layer].double() + added).float()
        assert torch.equal(lm.weight(layer), expected)


def test_edited_puts_the_same_bits_back_even_after_a_failure(folder):
    lm = load(open_model(str(folder)))
    base = describe(replace(open_model(str(folder)), source="tiny"))
    architecture = architecture_of(base.model_type)
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), edited(lm, a_delta(base)):
        name = architecture.weight_name(0)
        assert not torch.equal(lm.model.state_dict()[name], before[name])
        raise ZeroDivisionError
    assert all(torch.equal(value, before[name]) for name, value in lm.model.state_dict().items())


def test_generate_is_greedy_and_leaves_the_prompt_out(folder):
    lm = load(open_model(str(folder)))
    prompt = "The capital of France is"
    ids = lm.tokenizer(prompt)["input_ids"]
    expected = list(ids)
    for _ in range(6):
        expected.append(int(lm.model(input_ids=torch.tensor([expected])).logits[0, -1].argmax()))
    said = generate(lm, prompt, 6)
    assert said == lm.tokenizer.decode(expected[len(ids) :], skip_special_tokens=True)
    assert said == generate(lm, prompt, 6)


def test_resolve_names_what_is_missing(tmp_path, folder):
    assert resolve(str(folder)) == folder
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        resolve(str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="Hub"):
        resolve("no/such/folder/here")
    with pytest.raises(ModelNotFoundError, match="not to be had"):
        resolve("nobody-here/no-such-model", offline=True)


def test_an_unsupported_type_is_refused_before_anything_is_loaded(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mamba9"
    (folder / "config.json").write_text(json.dumps(config))
    for act in (
        lambda: describe(replace(open_model(str(folder)), source="tiny")),
        lambda: load(open_model(str(folder))),
    ):
        with pytest.raises(UnknownArchitectureError, match="mamba9"):
            act()


def test_a_folder_without_tokenizer_is_refused(folder):
    for path in folder.glob("token*"):
        path.unlink()
    with pytest.raises(ModelNotFoundError, match="tokenizer"):
        describe(replace(open_model(str(folder)), source="tiny"))


def test_a_slow_tokenizer_is_refused(folder, monkeypatch):
    import transformers

    class Slow:
        is_fast = False

        @classmethod
        def from_pretrained(cls, *_args, **_kwargs):
            return cls()

    monkeypatch.setattr(transformers, "AutoTokenizer", Slow)
    with pytest.raises(SlowTokenizerError, match="Slow has no offset mapping"):
        load(open_model(str(folder)))


def test_of_long_texts_we_speak_ourselves(folder, monkeypatch):
    """transformers warned of indexing errors beside our own word of the limit."""
    told = []
    monkeypatch.setattr(
        tokenization_utils_base.logger, "warning", lambda *words: told.append(words)
    )
    loaded = load(open_model(str(folder))).tokenizer
    loaded.model_max_length = 4
    assert len(loaded("Paris is the capital of France")["input_ids"]) > 4
    assert told == []
