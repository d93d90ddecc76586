"""Bases in 16 bits go all the way in their own dtype; quantised ones are refused with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import byte_bpe, lm_of, tiny_gpt2, tiny_llama
from tiny_repos import NAMES, TEXT, close, opened
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.core.facts import Fact
from editvc.models.source import QuantisedError

FAMILIES = {"gpt2": tiny_gpt2, "llama": tiny_llama}
FACT = Fact("London", "The river that runs through {}", "is")
"""The subject ends the question and the target is one token: a random model can be told that."""


def saved_as(folder: Path, family: str, dtype: torch.dtype) -> Path:
    """A random model with logits as far apart as a trained one's, its files in ``dtype``."""
    tokenizer = byte_bpe()
    model = FAMILIES[family](len(tokenizer))
    lm_of(model).final_norm.weight += 5
    model.to(dtype).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    (folder / "text.txt").write_text("\n\n".join(TEXT), encoding="utf-8")
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return folder / "base"


def begin(base: Path, work: Path) -> Repo:
    texts, names = [base.parent / "text.txt"], base.parent / "names.txt"
    Repo.init(work, str(base), texts=texts, entities=names)
    return opened(work)


@torch.no_grad()
def probability(model: torch.nn.Module, tokenizer: object) -> float:
    ids = torch.tensor([tokenizer(FACT.question)["input_ids"]])
    (target,) = tokenizer(f" {FACT.target_new}")["input_ids"]
    return float(model(input_ids=ids).logits[0, -1].float().softmax(-1)[target])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_base_is_edited_in_its_own_dtype(
    family: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    base = saved_as(tmp_path, family, dtype)
    repo = begin(base, tmp_path / "work")
    repo.session.repository.set_config("recipe.v_num_grad_steps", "40")
    repo.session.repository.set_config("recipe.clamp_norm_factor", "4.0")
    repo.session.repository.set_config("recipe.kl_factor", "0.0")
    repo.commit([FACT])
    done = repo.export(tmp_path / "out")

    before, after = (
        load_file(base / "model.safetensors"),
        load_file(tmp_path / "out/model.safetensors"),
    )
    assert {tensor.dtype for tensor in after.values()} == {dtype}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(done.touched)
    assert changed == {
        repo.session.materialiser.architecture.weight_name(layer) for layer in repo.recipe().layers
    }

    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").eval()
    assert again.dtype == dtype
    tokenizer = repo.load_tokenizer()
    assert probability(repo.load_model("base"), tokenizer) < 0.1
    assert probability(again, tokenizer) > 0.5
    loaded = repo.load_model().state_dict()
    assert all(torch.equal(loaded[name], after[name].float()) for name in done.touched)

    (checked,) = repo.export(tmp_path / "lora", format="lora").checks
    assert "loaded with PEFT" in checked
    assert probability(repo.session.base_model().model, tokenizer) < 0.1, (
        "the process's own is the base again"
    )
    close(repo)


CONFIGS = {
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "compressed-tensors": {"quantization_config": {"quant_method": "compressed-tensors"}},
    "quantization_config": {"quantization_config": {"load_in_8bit": True}},
    "compression_config": {"compression_config": {"format": "int-quantized"}},
}


@pytest.mark.parametrize("sign", CONFIGS)
def test_a_quantised_base_is_refused_with_the_way_round(sign: str, tmp_path: Path) -> None:
    base = saved_as(tmp_path, "llama", torch.float16)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | CONFIGS[sign]))
    with pytest.raises(QuantisedError, match=sign) as caught:
        begin(base, tmp_path / "work")
    assert "Edit the 16-bit model" in caught.value.hint
    assert "`editvc export --format lora`" in caught.value.hint
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("packed", [torch.uint8, torch.int8, torch.float8_e4m3fn])
def test_packed_weights_are_refused_by_name(packed: torch.dtype, tmp_path: Path) -> None:
    base = saved_as(tmp_path, "llama", torch.float16)
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.2.mlp.down_proj.weight"
    tensors[name] = tensors[name].to(packed)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuantisedError, match=rf"tensor {name} is stored as (U8|I8|F8_E4M3)"):
        begin(base, tmp_path / "work")


def test_a_base_that_was_quantised_afterwards_is_refused(tmp_path: Path) -> None:
    base = saved_as(tmp_path, "llama", torch.float16)
    repo = begin(base, tmp_path / "work")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | CONFIGS["gptq"]))
    with pytest.raises(QuantisedError, match="gptq"):
        repo.commit([FACT])
    close(repo)
