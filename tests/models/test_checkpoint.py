"""Reading weights tensor by tensor, against safetensors' own loader."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file, save_model

from editvc.models import checkpoint as module
from editvc.models.checkpoint import (
    INDEX,
    Checkpoint,
    CheckpointError,
    TensorNotFound,
    weights_digest,
)

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "h.0.mlp.c_proj.weight": torch.randn(6, 4, generator=generator).half(),
        "h.1.mlp.c_proj.weight": torch.randn(6, 4, generator=generator).bfloat16(),
        "wte.weight": torch.randn(9, 4, generator=generator),
        "scale": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
    }


def save_sharded(folder: Path, weights: dict[str, torch.Tensor], shards: int = 2) -> None:
    """Tensors dealt out in turn to ``shards`` files, with transformers' index."""
    names = list(weights)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def slow_digest(tensor: torch.Tensor, dtype: str) -> str:
    """The definition, with the whole tensor in memory."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    head = json.dumps([dtype, list(tensor.shape)], separators=(",", ":")).encode()
    return hashlib.sha256(head + raw).hexdigest()


def test_reads_what_safetensors_reads_from_one_file_and_from_shards(tmp_path: Path) -> None:
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    single.mkdir()
    sharded.mkdir()
    save_file(tensors(), single / "model.safetensors")
    save_sharded(sharded, tensors())
    for folder, files in ((single, 1), (sharded, 2)):
        checkpoint = Checkpoint(folder)
        assert len(checkpoint.shards) == files
        assert set(checkpoint.tensors) == set(tensors())
        for name, expected in tensors().items():
            assert torch.equal(checkpoint.read(name), expected)
            assert checkpoint.read(name).dtype == expected.dtype
            assert checkpoint.info(name).shape == tuple(expected.shape)
            assert checkpoint.tensors[name] in checkpoint.shards
    assert Checkpoint(single).info("h.1.mlp.c_proj.weight").dtype == "BF16"


def test_digests_do_not_depend_on_sharding_or_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    single.mkdir()
    sharded.mkdir()
    save_file(tensors(), single / "model.safetensors")
    save_sharded(sharded, tensors(), shards=3)
    expected = Checkpoint(single).digests()
    assert expected["wte.weight"] == slow_digest(tensors()["wte.weight"], "F32")
    monkeypatch.setattr(module, "BUFFER", 5)
    assert Checkpoint(sharded).digests() == expected
    assert weights_digest(Checkpoint(sharded).digests()) == weights_digest(expected)


@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_digest_is_that_of_the_whole_tensor(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: torch.dtype, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("digest")
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 9
    tensor = values.to(dtype)
    save_file({"other": torch.ones(3), "a": tensor}, folder / "model.safetensors")
    checkpoint = Checkpoint(folder)
    assert checkpoint.digest("a") == slow_digest(tensor, checkpoint.info("a").dtype)


def test_digest_tells_shape_and_dtype_apart(tmp_path: Path) -> None:
    zeros = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(3, 2),
        "c": torch.zeros(2, 3, dtype=torch.int32),
    }
    save_file(zeros, tmp_path / "model.safetensors")
    assert len(set(Checkpoint(tmp_path).digests().values())) == 3


def test_names_with_another_prefix_are_found(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.find("transformer.h.0.mlp.c_proj.weight") == "h.0.mlp.c_proj.weight"
    assert checkpoint.find("0.mlp.c_proj.weight") == "h.0.mlp.c_proj.weight"
    # A prefix of a component is no prefix: "xh.0..." must not match "h.0...".
    with pytest.raises(TensorNotFound):
        checkpoint.find("xh.0.mlp.c_proj.weight")
    with pytest.raises(TensorNotFound, match=r"could be any of .*h\.0.*h\.1"):
        checkpoint.find("mlp.c_proj.weight")


def test_a_tied_tensor_is_found_under_the_name_that_was_dropped(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte = torch.nn.Embedding(5, 3)
            self.lm_head = torch.nn.Linear(3, 5, bias=False)
            self.lm_head.weight = self.wte.weight

    model = Tied()
    save_model(model, str(tmp_path / "model.safetensors"))
    checkpoint = Checkpoint(tmp_path)
    assert len(checkpoint.tensors) == 1
    for name in ("lm_head.weight", "wte.weight"):
        assert torch.equal(checkpoint.read(name), model.wte.weight)
    assert len(checkpoint.digests()) == 1


def test_a_head_that_is_tied_by_config_has_a_hint(tmp_path: Path) -> None:
    save_file({"wte.weight": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(TensorNotFound) as caught:
        Checkpoint(tmp_path).read("lm_head.weight")
    assert "tied" in caught.value.hint
    assert caught.value.tensor == "lm_head.weight"


def test_one_file_wins_over_an_index_as_in_transformers(tmp_path: Path) -> None:
    save_sharded(tmp_path, tensors())
    save_file({"only": torch.ones(1)}, tmp_path / "model.safetensors")
    assert set(Checkpoint(tmp_path).tensors) == {"only"}


def test_header_and_chunks_make_up_the_file(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    shard = checkpoint.shard(checkpoint.shards[0])
    data = b"".join(chunk for name in shard.spans for chunk in shard.chunks(name))
    assert shard.header + data == (tmp_path / "model.safetensors").read_bytes()
    assert shard.metadata == {"format": "pt"}


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    save_sharded(tmp_path, tensors())
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors.*missing"):
        Checkpoint(tmp_path)


def test_a_shard_cut_short_is_named(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    for length in (0, 4, 30, len(data) - 1):
        (tmp_path / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable"):
            Checkpoint(tmp_path)


def test_an_index_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    save_sharded(tmp_path, tensors())
    index = json.loads((tmp_path / INDEX).read_text())
    index["weight_map"]["ghost"] = "model-00001-of-00002.safetensors"
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(TensorNotFound, match="promises tensor 'ghost'"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("file", ["../outside.safetensors", "/etc/outside.safetensors", "a/b"])
def test_an_index_that_leaves_its_folder_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(CheckpointError, match="outside the folder"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "\x00"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match="not a safetensors index"):
        Checkpoint(tmp_path)


def test_folders_without_safetensors_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        Checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors"):
        Checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.*never pickle") as caught:
        Checkpoint(tmp_path)
    assert "save_pretrained" in caught.value.hint


def test_atlas_reads_as_safetensors_reads_it(shared: Path) -> None:
    folder = shared / "models" / "atlas-gpt2"
    name = "transformer.h.3.mlp.c_proj.weight"
    expected = load_file(folder / "model.safetensors")[name]
    assert torch.equal(Checkpoint(folder).read(name), expected)


def test_digests_are_computed_without_torch(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    code = (
        "import sys; from editvc.models.checkpoint import Checkpoint;"
        f"Checkpoint({str(tmp_path)!r}).digests(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
