"""The whole identity of a base: every tensor, what its config means, what its tokenizer does."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import saved
from transformers import AutoModelForCausalLM, AutoTokenizer

from editvc.core.base import Identity
from editvc.models.checkpoint import Checkpoint, Shard
from editvc.models.fingerprint import (
    BaseMismatchError,
    describe,
    identify,
    require_identical,
    require_same,
)
from editvc.models.source import ModelNotFoundError, open_model
from editvc.models.tensor_digests import NotFiniteError, ShortMemory, tensor_digests


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return saved(tmp_path / "model", request.param)


def of(folder: Path) -> Identity:
    return identify(open_model(str(folder)))


def with_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_json(path: Path, change: Callable[[dict[str, Any]], None], **style: Any) -> None:
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record, **style), "utf-8")


def test_any_changed_tensor_is_another_model(folder: Path, tmp_path: Path) -> None:
    before = of(folder)
    names = [name for name, _ in before.tensors]
    assert len(names) > 20 and {"wte", "embed_tokens"} & {n.split(".")[-2] for n in names}
    for name in names:
        shutil.copytree(folder, other := tmp_path / name)

        def change(tensors: dict[str, torch.Tensor], name: str = name) -> None:
            tensors[name].view(-1)[0] += 1e-3

        with_tensors(other, change)
        with pytest.raises(BaseMismatchError, match=name) as caught:
            require_identical(before, of(other), "other")
        assert caught.value.part == f"tensor {name}"


def test_a_tensor_more_or_less_is_another_model(folder: Path) -> None:
    before = of(folder)
    name = before.tensors[-1][0]
    with_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(2)))
    with pytest.raises(BaseMismatchError, match=r"extra is not in the base"):
        require_identical(before, of(folder), "other")
    with_tensors(folder, lambda tensors: [tensors.pop(one) for one in ("extra", name)])
    with pytest.raises(BaseMismatchError, match=f"{name} is missing"):
        require_identical(before, of(folder), "other")


def test_masks_and_tied_copies_that_no_model_loads_are_no_part_of_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "gpt2")
    before = of(folder)

    def as_once(tensors: dict[str, torch.Tensor]) -> None:
        tensors["transformer.h.0.attn.bias"] = torch.full((1, 1, 8, 8), -torch.inf)
        tensors["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()

    with_tensors(folder, as_once)
    assert of(folder) == before
    with_tensors(folder, lambda tensors: tensors["lm_head.weight"].add_(1))
    with pytest.raises(BaseMismatchError, match=r"lm_head\.weight"):
        require_identical(before, of(folder), "other")


def test_a_model_that_transformers_wrote_again_is_the_same(folder: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again", max_shard_size="20KB")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert len(Checkpoint(tmp_path / "again").shards) > 1
    require_identical(of(folder), of(tmp_path / "again"), "again")


def test_a_tokenizer_is_known_by_what_it_does(folder: Path) -> None:
    """``json.load`` and ``json.dump`` write other bytes of it: that was refused."""
    before, first = of(folder), describe(open_model(str(folder)))
    path = folder / "tokenizer.json"
    whole = path.read_bytes()

    def as_text(record: dict[str, Any]) -> None:
        merges = record["model"]["merges"]
        record["model"]["merges"] = [" ".join(one) if isinstance(one, list) else one
                                     for one in merges]  # fmt: skip
        record["model"] |= {"ignore_merges": False, "dropout": None}
        record["padding"] = {"strategy": "BatchLongest"}

    for change, style in [(lambda record: None, {}), (as_text, {"sort_keys": True})]:
        with_json(path, change, **style)
        assert path.read_bytes() != whole
        assert of(folder) == before

    # Of bytes alone, as the first versions kept them, only this way of writing is known again.
    path.write_bytes(whole)
    with_json(path, lambda record: None)
    require_same(first, describe(open_model(str(folder))), folder)

    with_json(path, lambda record: record["model"]["merges"].pop())
    with pytest.raises(BaseMismatchError) as caught:
        require_identical(before, of(folder), "other")
    assert caught.value.part == "tokenizer"
    path.write_bytes(whole)
    with_json(folder / "tokenizer_config.json", lambda record: record.update(add_bos_token=True))
    with pytest.raises(BaseMismatchError):
        require_identical(before, of(folder), "other")


def test_a_config_is_known_by_what_it_means(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "llama")
    before, path = of(folder), folder / "config.json"

    def neutral(config: dict[str, Any]) -> None:
        config |= {"transformers_version": "0.0", "dtype": "bfloat16", "use_cache": False,
                   "initializer_range": 1.0, "attention_dropout": 0.5, "id2label": {}}  # fmt: skip

    def by_default(config: dict[str, Any]) -> None:
        del config["rms_norm_eps"], config["mlp_bias"]

    def as_once(config: dict[str, Any]) -> None:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]

    for change in (neutral, by_default, as_once):
        with_json(path, change)
        require_identical(before, of(folder), "other")
    with_json(path, lambda config: config.update(rms_norm_eps=1e-3))
    with pytest.raises(BaseMismatchError, match=r"rms_norm_eps is 0\.001, in the base 1e-06"):
        require_identical(before, of(folder), "other")


@pytest.mark.parametrize("text", ["[]", '{"n_layer": NaN}', "[" * 100_000])
def test_a_config_that_is_none_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        open_model(str(folder))


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the numbers were read again")

    monkeypatch.setattr(Shard, "chunks", read)


def test_digests_are_taken_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = ShortMemory()
    checkpoint = Checkpoint(folder)
    digests = tensor_digests(checkpoint, memory)
    assert digests == checkpoint.digests(), "the plain way"
    unread(monkeypatch)
    assert tensor_digests(Checkpoint(folder), memory) == digests
    assert describe(open_model(str(folder)), memory).weights
    with pytest.raises(AssertionError, match="again"):
        tensor_digests(Checkpoint(folder))


def test_a_file_that_was_changed_is_read_again(folder: Path) -> None:
    """Even where its size and the time of its change are what they were, as ``cp -p`` leaves it."""
    memory, path = ShortMemory(), folder / "model.safetensors"
    before = tensor_digests(Checkpoint(folder), memory)
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    time.sleep(0.02)  # a change within one tick of the file system's clock cannot be seen
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert tensor_digests(Checkpoint(folder), memory) == Checkpoint(folder).digests() != before


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_number_that_is_none_is_found_in_any_tensor(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    largest = torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min, 0], dtype=dtype)
    save_file({"a": largest}, tmp_path / "model.safetensors")
    tensor_digests(Checkpoint(tmp_path))
    save_file({"a": largest, "b": torch.tensor([0, value], dtype=dtype)},
              tmp_path / "model.safetensors")  # fmt: skip
    with pytest.raises(NotFiniteError) as caught:
        tensor_digests(Checkpoint(tmp_path))
    assert caught.value.tensor == "b"
