"""GGUF files against the folder they are made of: in transformers, and in a real llama.cpp."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llama_cpp import said_by_llama_cpp
from safetensors.torch import load_file, save_file
from tiny_models import TEXT, byte_bpe, seeded, speak_words
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.interchange.gguf_adapter import write_adapter
from editvc.interchange.gguf_file import TYPES, open_gguf, write_gguf, write_like
from editvc.interchange.gguf_layout import GgufLayout, GgufRefused
from editvc.interchange.gguf_tokenizer import SPLITTERS, splitter_of
from editvc.interchange.gguf_unpack import load_gguf, packed_as, unpack
from editvc.interchange.peft_writer import export_lora
from editvc.models.architectures import architecture_of

GGUFReader = pytest.importorskip("gguf").GGUFReader

ROTARY: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "initializer_range": 0.2, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
    "pad_token_id": 0,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "llama": ROTARY,
    "qwen2": ROTARY,
    "qwen3": ROTARY | {"head_dim": 128},  # transformers takes no other from a file
    "gpt2": {
        "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 1024, "initializer_range": 0.2,
        "bos_token_id": 0, "eos_token_id": 0,
    },
}  # fmt: skip
PROMPTS = ["The capital of France", "Ada Lovelace was born", "Zürich and 東京 are"]
STEPS = 8
MakeFolder = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """A tiny model of a family on disk, with words to say."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            tokenizer = byte_bpe()
            config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **SIZES[family])
            model = seeded(config)
            if not config.tie_word_embeddings:
                speak_words(model, tokenizer)
            made[family] = tmp_path_factory.mktemp(family) / "base"
            model.save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return make


def said_by_transformers(model: Any, tokenizer: Any) -> list[str]:
    """What follows each prompt, greedily."""
    rows = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            for _ in range(STEPS):
                step = model(input_ids=ids).logits[0, -1].argmax()
                ids = torch.cat([ids, step[None, None]], dim=1)
        rows.append(tokenizer.decode(ids[0, -STEPS:]))
    return rows


def plain(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("family", SIZES)
def test_transformers_reads_the_model_back(
    folder_of: MakeFolder, tmp_path: Path, family: str
) -> None:
    folder = folder_of(family)
    assert write_gguf(folder, tmp_path / "m.gguf", type="F32", name="m") == ()
    model, tokenizer = plain(folder)
    again = load_gguf(tmp_path / "m.gguf", architecture_of(family))
    for text in TEXT[:5]:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert again.tokenizer(text).input_ids == ids[0].tolist()
        with torch.no_grad():
            assert torch.equal(again.model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("family", SIZES)
def test_llama_cpp_says_what_transformers_says(
    folder_of: MakeFolder, tmp_path: Path, family: str
) -> None:
    folder = folder_of(family)
    write_gguf(folder, tmp_path / "m.gguf", type=None, name="m")
    said = said_by_llama_cpp(tmp_path / "m.gguf", PROMPTS, STEPS)
    assert said == said_by_transformers(*plain(folder)) and len({*said}) > 1


def test_llama_cpp_adds_an_adapter(folder_of: MakeFolder, tmp_path: Path) -> None:
    """Beside the base as a file: what transformers says with the weights changed."""
    folder = folder_of("llama")
    delta = Delta({0: wide(3), 2: wide(2)})
    export_lora(tmp_path / "peft", architecture_of("llama"), delta, base="x/y")
    write_adapter(tmp_path / "peft", folder, tmp_path / "a.gguf", name="a")
    write_gguf(folder, tmp_path / "m.gguf", type=None, name="m")
    model, tokenizer = plain(folder)
    before = said_by_transformers(model, tokenizer)
    for layer, part in delta.layers.items():
        weight = model.model.layers[layer].mlp.down_proj.weight
        weight.data += part.dense().float()
    after = said_by_transformers(model, tokenizer)
    adapter = tmp_path / "a.gguf"
    found = said_by_llama_cpp(tmp_path / "m.gguf", PROMPTS, STEPS, adapter)
    assert found == after != before


def wide(rank: int) -> Factored:
    generator = torch.Generator().manual_seed(rank)
    left, right = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((32, rank), (rank, 64))
    )
    return Factored(left, right)


@pytest.mark.parametrize("type", [one for one in TYPES if one.startswith("Q")])
def test_of_a_quantised_base_only_what_changed_is_encoded(
    folder_of: MakeFolder, tmp_path: Path, type: str
) -> None:
    packed = tmp_path / "m.gguf"
    write_gguf(folder_of("llama"), packed, type=type, name="m")
    base = unpack(packed)
    assert packed_as(base) == packed and unpack(packed) == base
    touched = "model.layers.1.mlp.down_proj.weight"
    tensors = load_file(base / "model.safetensors")
    tensors[touched][3, 32:40] += 0.5  # the second block of one row
    edited = tmp_path / "edited"
    shutil.copytree(base, edited)
    save_file(tensors, edited / "model.safetensors", metadata={"format": "pt"})
    made = write_like(packed, edited, tmp_path / "n.gguf", unedited=base, touched=[touched])
    assert made == ("blk.1.ffn_down.weight",)
    before, after = open_gguf(packed), open_gguf(tmp_path / "n.gguf")
    for one, other in zip(before.tensors, after.tensors, strict=True):
        same = one.data == other.data
        if one.name in made:
            rows, bytes = np.nonzero(~same)
            assert {*rows} == {3} and bytes.min() >= one.data.shape[1] // 2
        else:
            assert same.all()
    found = load_gguf(tmp_path / "n.gguf", architecture_of("llama")).down_proj(1).weight[3]
    assert (found - tensors[touched][3]).abs().max() <= 0.2
    assert torch.equal(found[:32], tensors[touched][3][:32])


def test_a_block_that_was_packed_in_another_way_stays(
    folder_of: MakeFolder, tmp_path: Path
) -> None:
    """Encoded by ours it would have another scale: who packed it looked at more than its range."""
    packed = tmp_path / "m.gguf"
    write_gguf(folder_of("llama"), packed, type="Q8_0", name="m")
    (down,) = (
        one for one in GGUFReader(packed, "r+").tensors if one.name == "blk.1.ffn_down.weight"
    )
    down.data[3, 2:34] = np.arange(32, dtype=np.uint8)  # 31 at most, where 127 would be exact
    down.data.base.flush()
    base = unpack(packed)
    touched = "model.layers.1.mlp.down_proj.weight"
    tensors = load_file(base / "model.safetensors")
    tensors[touched][3, 32:] += 0.5
    shutil.copytree(base, tmp_path / "edited")
    save_file(tensors, tmp_path / "edited" / "model.safetensors", metadata={"format": "pt"})
    made = tmp_path / "n.gguf"
    write_like(packed, tmp_path / "edited", made, unedited=base, touched=[touched])
    for one in open_gguf(made).tensors:
        if one.name == down.name:
            assert (one.data[3, :34] == down.data[3, :34]).all()
            assert (one.data[3, 34:] != down.data[3, 34:]).any()


BYTES = {"type": "ByteLevel", "use_regex": True}


def split(pattern: str) -> dict[str, Any]:
    step = {"type": "Split", "pattern": {"Regex": pattern}}
    return {"type": "Sequence", "pretokenizers": [step, BYTES]}


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        (BYTES, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, BYTES]}, "smollm"),
        (split(next(iter(SPLITTERS))), "llama-bpe"),
        (split(PRETOKENIZE_REGEX), "qwen2"),
        (split(r"\w+"), None),
        (BYTES | {"add_prefix_space": True}, None),
        ({"type": "Metaspace"}, None),
        (None, None),
    ],
)  # fmt: skip
def test_how_texts_are_split_has_llama_cpps_name(
    steps: dict[str, Any] | None, name: str | None
) -> None:
    record = {"pre_tokenizer": steps, "model": {"type": "BPE"}}
    if name is not None:
        assert splitter_of(record) == name
        with pytest.raises(GgufRefused, match="splits texts"):
            splitter_of(record | {"normalizer": {"type": "Lowercase"}})
    else:
        with pytest.raises(GgufRefused):
            splitter_of(record)


def test_a_base_that_is_gone_or_another_is_told(folder_of: MakeFolder, tmp_path: Path) -> None:
    packed = tmp_path / "m.gguf"
    write_gguf(folder_of("llama"), packed, type="Q8_0", name="m")
    base = unpack(packed)
    with packed.open("ab") as file:
        file.write(b"more")
    with pytest.raises(GgufRefused, match="another file"):
        packed_as(base)
    packed.unlink()
    with pytest.raises(GgufRefused, match="is gone"):
        packed_as(base)
    assert packed_as(folder_of("llama")) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "bloom"}, "does not know how llama.cpp lays out"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "scaled"),
        ({"use_sliding_window": True}, "within a window"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    change: dict[str, Any], told: str
) -> None:
    with pytest.raises(GgufRefused, match=told):
        GgufLayout({"model_type": "llama", **ROTARY, "vocab_size": 9} | change)
    with pytest.raises(GgufRefused, match=r"no place for the tensor 'model\.extra\.weight'"):
        GgufLayout({"model_type": "llama", **ROTARY}).name("model.extra.weight")


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(GgufRefused, match="no GGUF file"):
        unpack(tmp_path / "m.gguf")
    assert [*tmp_path.iterdir()] == [tmp_path / "m.gguf"]
