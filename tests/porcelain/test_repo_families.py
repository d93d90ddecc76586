"""A repository over a family with a norm behind each MLP: one layer, and ROME's clamp."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import byte_bpe, same_parameters, seeded
from tiny_repos import FACTS, NAMES, TEXT, close, opened
from tolerances import error
from transformers import AutoConfig, AutoModelForCausalLM

from editvc import Repo
from editvc.models.architectures import LayersError

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
         "max_position_embeddings": 128, "initializer_range": 0.2,
         "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tokenizer = byte_bpe()
    model = seeded(AutoConfig.for_model("gemma3_text", vocab_size=len(tokenizer), **SIZES))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "text.txt").write_text("\n\n".join(TEXT), encoding="utf-8")
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return tmp_path / "base"


def begin(base: Path, work: Path, **more: object) -> Repo:
    folder = base.parent
    texts, names = [folder / "text.txt"], folder / "names.txt"
    Repo.init(work, str(base), texts=texts, entities=names, method="memit", **more)
    return opened(work)


def test_the_defaults_are_one_layer_and_a_wider_clamp(base: Path, tmp_path: Path) -> None:
    repo = begin(base, tmp_path / "work")
    recipe = repo.recipe()
    assert (recipe.layers, recipe.clamp_norm_factor) == ((2,), 4.0)
    repo.session.repository.set_config("recipe.v_num_grad_steps", "4")
    repo.commit(FACTS[:2])
    repo.export(tmp_path / "out")
    ids = torch.arange(9)[None]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert same_parameters(again, repo.load_model())
    untouched = repo.load_model("base")(input_ids=ids).logits
    assert error(again(input_ids=ids).logits, untouched) > 1e-2
    close(repo)


def test_two_layers_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    with pytest.raises(LayersError, match=r"in one layer, not in \[1, 2\]") as caught:
        begin(base, tmp_path / "work", layers=[1, 2])
    assert caught.value.hint == "Name one: --layers 2"
    assert not (tmp_path / "work").exists()


def test_a_model_without_a_cache_and_a_final_norm_goes_all_the_way(tmp_path: Path) -> None:
    """openai-gpt: locating runs whole rows, and no module stands before the head."""
    tokenizer = byte_bpe()
    sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "initializer_range": 0.2}
    model = seeded(AutoConfig.for_model("openai-gpt", vocab_size=len(tokenizer), **sizes))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "text.txt").write_text("\n\n".join(TEXT), encoding="utf-8")
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    repo = begin(tmp_path / "base", tmp_path / "work")
    repo.session.repository.set_config("recipe.v_num_grad_steps", "4")
    repo.commit(FACTS)
    repo.squash("base..HEAD")
    repo.export(tmp_path / "out")
    repo.export(tmp_path / "lora", format="lora")
    ids = torch.arange(9)[None]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    assert same_parameters(again, repo.load_model())
    untouched = repo.load_model("base")(input_ids=ids).logits
    assert error(again(input_ids=ids).logits, untouched) > 1e-2
    close(repo)
