"""``export --format gguf`` and ``init model.gguf``: what llama.cpp is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from llama_cpp import said_by_llama_cpp
from test_repo_gated import LAYER, recipe_of, with_inputs
from tiny_models import byte_bpe, saved, speak_words, tiny_llama
from tiny_repos import FACTS, Prepared

from editvc import Repo
from editvc.errors import EditvcError
from editvc.interchange import gguf_tokenizer
from editvc.interchange.gguf_file import open_gguf, write_gguf
from editvc.interchange.gguf_layout import GgufRefused
from editvc.interchange.reload_check import verify_reload
from editvc.models.architectures import architecture_of

pytest.importorskip("gguf")
TOKENS = 6


def test_llama_cpp_says_what_a_gated_export_says(
    repo: Repo, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Located and gated edits at once, in a file with wider MLPs."""
    with pytest.raises(GgufRefused, match="its tokenizer splits"):
        repo.export(tmp_path / "gguf", format="gguf", revision="base")
    # It drops one character, which llama.cpp would not, and which no fact here has.
    monkeypatch.setattr(gguf_tokenizer, "splitter_of", lambda _record: "gpt-2")
    repo.commit(FACTS[:2])
    with_inputs(repo, prepared).commit(FACTS[2:3], recipe=recipe_of(repo))
    repo.export(tmp_path / "hf")
    done = repo.export(tmp_path / "gguf", format="gguf")
    assert done.commands[0] == f"llama-server -m {tmp_path / 'gguf' / 'model.gguf'}"
    assert (tmp_path / "gguf" / "Modelfile").read_text() == "FROM ./model.gguf\n"
    assert not (tmp_path / "gguf" / "scratch").exists()
    widths = {one.name: one.shape for one in open_gguf(tmp_path / "gguf" / "model.gguf").tensors}
    assert widths[f"blk.{LAYER}.ffn_down.weight"][0] == 192
    prompts = [fact.question for fact in FACTS]
    expected = verify_reload(
        tmp_path / "hf", architecture_of("gpt2"), prompts, max_new_tokens=TOKENS
    )
    assert said_by_llama_cpp(tmp_path / "gguf" / "model.gguf", prompts, TOKENS) == expected


def test_an_adapter_for_llama_cpp_is_said_how_to_load(repo: Repo, tmp_path: Path) -> None:
    repo.commit(FACTS[:2])
    done = repo.export(tmp_path / "a", format="gguf-lora", rank=1)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "adapter.gguf", "Modelfile", "editvc.json"
    }  # fmt: skip
    assert "--lora" in done.commands[0] and "base.gguf stands for" in done.notes[-1]
    with pytest.raises(EditvcError, match="only a GGUF file is quantised"):
        repo.export(tmp_path / "b", format="hf", quantize="Q8_0")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A tiny Llama that says words, as a quantised file."""
    tokenizer = byte_bpe()
    model = tiny_llama(len(tokenizer), intermediate_size=64, bos_token_id=0, eos_token_id=0)
    speak_words(model, tokenizer)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    write_gguf(tmp_path / "base", tmp_path / "m.gguf", type="Q4_1", name="m")
    return tmp_path / "m.gguf"


def test_a_gguf_file_is_a_base_and_comes_out_as_it_went_in(packed: Path, tmp_path: Path) -> None:
    told: list[str] = []
    repo = Repo.init(tmp_path / "repo", str(packed), later=True, remark=told.append)
    assert repo.status().source == str(tmp_path / "m.base") and "unpacked" in told[0]
    done = repo.export(tmp_path / "out", format="gguf", revision="base")
    assert "nothing" in done.notes[-1]
    again = open_gguf(tmp_path / "out" / "model.gguf")
    for one, other in zip(open_gguf(packed).tensors, again.tensors, strict=True):
        assert (one.name, one.tensor_type) == (other.name, other.tensor_type)
        assert torch.equal(torch.tensor(one.data), torch.tensor(other.data))
    anew = repo.export(tmp_path / "q8", format="gguf", revision="base", quantize="Q8_0")
    assert anew.digest != done.digest
    packed.unlink()
    with pytest.raises(GgufRefused, match="is gone"):
        repo.export(tmp_path / "lost", format="gguf", revision="base")
    assert not (tmp_path / "lost").exists()


def test_a_family_without_a_layout_is_refused_before_any_work(tmp_path: Path) -> None:
    base = saved(tmp_path / "base", "llama", hidden_act="gelu")
    repo = Repo.init(tmp_path / "repo", str(base), later=True)
    with pytest.raises(GgufRefused, match="hidden_act is 'gelu'"):
        repo.export(tmp_path / "out", format="gguf", revision="base")
