"""Wider MLPs in files: what transformers loads is the model that hooks make, in every family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_families import FLOAT32, tiny
from tiny_models import lm_of
from tolerances import assert_near, longest_sum, model_rounding
from transformers import AutoModelForCausalLM

from editvc.algebra.neurons import Neurons
from editvc.interchange.hf_checkpoint import export_hf
from editvc.interchange.replacing import TooManyNeurons, replace_least
from editvc.interchange.widening import FixedWidthError, widen
from editvc.models.architectures import architecture_of, known_model_types
from editvc.models.checkpoint import Checkpoint
from editvc.models.neuron_hooks import widened

IDS = torch.arange(14).view(2, 7)
WIDE = sorted(name for name in known_model_types() if architecture_of(name).width is not None)
FIXED = sorted(set(known_model_types()) - set(WIDE))


def random_neurons(lm, seed: int, count: int) -> Neurons:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Neurons(
        inside=draw(count, lm.hidden_size),
        bias=None if lm.up_proj(0).bias is None else draw(count),
        beside=None if lm.architecture.gate_proj is None else draw(count, lm.hidden_size),
        down=draw(lm.hidden_size, count),
    )


def exported(lm, neurons, base: Path, target: Path, multiple: int = 16) -> Path:
    widening = widen(lm.architecture, Checkpoint(base), neurons, lm.depth, multiple)
    export_hf(base, target, {}, mlps=widening)
    return target


@pytest.mark.parametrize("model_type", WIDE)
@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_a_wider_file_is_the_model_that_hooks_make(
    model_type: str, shard: str, tokenizer, tmp_path: Path
) -> None:
    model = tiny(model_type, len(tokenizer))
    lm = lm_of(model if model_type in FLOAT32 else model.double())
    lm.model.save_pretrained(tmp_path / "base", max_shard_size=shard)
    neurons = {0: random_neurons(lm, 1, 5), 2: random_neurons(lm, 2, 3)}
    target = exported(lm, neurons, tmp_path / "base", tmp_path / "wide")
    wide = AutoModelForCausalLM.from_pretrained(target, dtype=lm.model.dtype).eval()
    with (
        torch.no_grad(),
        widened(lm, {n: one.rounded(lm.model.dtype) for n, one in neurons.items()}),
    ):
        expected = lm.model(input_ids=IDS).logits

    def logits(of: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return of(input_ids=IDS).logits

    # What the neurons give is summed apart and added: one sum of two more.
    assert_near(logits(wide), expected, model_rounding(logits, wide, longest_sum(wide) + 1))
    key = architecture_of(model_type).width
    assert (getattr(wide.config, key) or 0) % 16 == 0
    before, after = (
        json.loads((path / "config.json").read_text()) for path in (tmp_path / "base", target)
    )
    assert {name for name in after if after.get(name) != before.get(name)} == {key}
    if (index := target / "model.safetensors.index.json").is_file():
        sizes = sum(one.stat().st_size - len(Checkpoint(target).shard(one).header)
                    for one in Checkpoint(target).shards)  # fmt: skip
        assert json.loads(index.read_text())["metadata"]["total_size"] == sizes


@pytest.mark.parametrize("model_type", FIXED)
def test_a_family_of_one_width_is_refused(model_type: str, tokenizer, tmp_path: Path) -> None:
    lm = lm_of(tiny(model_type, len(tokenizer)))
    lm.model.save_pretrained(tmp_path / "base")
    with pytest.raises(FixedWidthError, match="fixes the width"):
        exported(lm, {0: random_neurons(lm, 1, 2)}, tmp_path / "base", tmp_path / "wide")
    assert not (tmp_path / "wide").exists()


@pytest.mark.parametrize("model_type", sorted(known_model_types()))
def test_neurons_that_give_way_leave_their_places_to_others(
    model_type: str, tokenizer, tmp_path: Path
) -> None:
    """The model of the files is the base without those neurons, with the others beside it."""
    model = tiny(model_type, len(tokenizer))
    lm = lm_of(model if model_type in FLOAT32 else model.double())
    lm.model.save_pretrained(tmp_path / "base", max_shard_size="20KB")
    neurons, least = {1: random_neurons(lm, 1, 5)}, torch.tensor([0, 3, 4, 7, 9])
    use = torch.ones(lm.inner_size, dtype=torch.float64)
    use[least] = torch.arange(5).double() / 5
    placed = replace_least(lm.architecture, Checkpoint(tmp_path / "base"), neurons, {1: use})
    export_hf(tmp_path / "base", tmp_path / "same", {}, mlps=placed)
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "same", dtype=lm.model.dtype).eval()
    for path in ("config.json", "model.safetensors.index.json"):
        assert (tmp_path / "same" / path).read_bytes() == (tmp_path / "base" / path).read_bytes()
    with torch.no_grad():
        weight = lm.weight(1)
        (weight if lm.architecture.transposed else weight.T)[least] = 0

    def logits(of: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return of(input_ids=IDS).logits

    with widened(lm, {1: neurons[1].rounded(lm.model.dtype)}):
        expected = logits(lm.model)
    assert_near(logits(new), expected, model_rounding(logits, new, longest_sum(new) + 1))


def test_no_layer_gives_more_neurons_than_it_has(tokenizer, tmp_path: Path) -> None:
    lm = lm_of(tiny("gpt2", len(tokenizer)))
    lm.model.save_pretrained(tmp_path / "base")
    neurons = {1: random_neurons(lm, 1, lm.inner_size + 1)}
    with pytest.raises(TooManyNeurons, match="the edits need"):
        replace_least(
            lm.architecture, Checkpoint(tmp_path / "base"), neurons, {1: torch.ones(lm.inner_size)}
        )
