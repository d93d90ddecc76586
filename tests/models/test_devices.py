"""Where models go: what was asked for, or the best there is, on machines of several kinds."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import tiny_llama
from transformers import AutoModelForCausalLM

from editvc.core.compute import DTYPES, Compute
from editvc.models import devices, loading
from editvc.models.devices import (
    NoSuchDevice,
    Placement,
    multiplies_bfloat16,
    placement,
    present,
)
from editvc.models.loading import MissingAccelerate, load, outgrows
from editvc.models.source import open_model

CPU = torch.device("cpu")
FLOATS = [torch.float16, torch.bfloat16, torch.float32]


@pytest.fixture(autouse=True)
def _no_accelerator() -> None:
    """Here are the tests that choose one."""


@pytest.fixture
def files(tmp_path, tokenizer):
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return open_model(str(tmp_path))


class Machine:
    """torch's answers on a machine with so many GPUs, or with Apple's, or with neither."""

    def __init__(self, patch, gpus=0, mps=False, bfloat16=True):
        patch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        patch.setattr(torch.cuda, "device_count", lambda: gpus)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.backends.mps, "is_available", lambda: mps)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)


class Processor:
    """torch's answers on a processor: what its kernels use, and what instructions there are."""

    def __init__(self, patch, capability, **questions):
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        for question in devices._BFLOAT16:
            answer = questions.get(question, False)
            patch.setattr(torch.cpu, question, lambda answer=answer: answer, raising=False)


@pytest.mark.parametrize("question", devices._BFLOAT16)
def test_a_processor_with_either_instruction_multiplies_bfloat16(question, monkeypatch):
    Processor(monkeypatch, "AVX512", **{question: True})
    assert multiplies_bfloat16(CPU)


def test_older_processors_and_a_torch_that_is_told_not_to_do_not(monkeypatch):
    Processor(monkeypatch, "AVX512")
    assert not multiplies_bfloat16(CPU)
    Processor(monkeypatch, "AVX2", **dict.fromkeys(devices._BFLOAT16, True))
    assert not multiplies_bfloat16(CPU)
    Processor(monkeypatch, "AVX512")
    for question in devices._BFLOAT16:
        monkeypatch.delattr(torch.cpu, question)
    assert not multiplies_bfloat16(CPU)


def test_this_processor_is_asked_in_words_that_torch_knows():
    assert all(hasattr(torch.cpu, question) for question in devices._BFLOAT16) or (
        torch.__version__ < "2.6"
    )


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("stored", FLOATS)
def test_auto_on_a_processor_rounds_no_weight_and_imitates_nothing(stored, native, monkeypatch):
    Machine(monkeypatch)
    Processor(monkeypatch, "AVX512", _is_avx512_bf16_supported=native)
    exact = stored == torch.bfloat16 and native
    place = placement(Compute(), stored)
    assert place.device == CPU
    assert place.dtype == (torch.bfloat16 if exact else torch.float32)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("stored", FLOATS)
def test_auto_takes_the_first_gpu_and_the_files_dtype(stored, native, monkeypatch):
    Machine(monkeypatch, gpus=2, bfloat16=native)
    place = placement(Compute(), stored)
    assert place.device == torch.device("cuda", 0)
    imitated = stored == torch.bfloat16 and not native
    assert place.dtype == (torch.float32 if imitated else stored)


def test_auto_takes_apples_where_it_is_alone(monkeypatch):
    Machine(monkeypatch, mps=True)
    assert placement(Compute(), torch.float16).device == torch.device("mps")
    assert placement(Compute("cpu"), torch.float16).device == CPU


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_asked_for_is_taken(dtype, monkeypatch):
    Machine(monkeypatch, gpus=2)
    place = placement(Compute("cuda:1", dtype), torch.float32)
    assert (place.device, place.dtype) == (torch.device("cuda", 1), getattr(torch, dtype))
    assert placement(Compute("cuda", dtype), torch.float32).device == torch.device("cuda")


@pytest.mark.parametrize(
    ("gpus", "mps", "asked", "there"),
    [
        (0, False, "cuda", ("cpu",)),
        (0, False, "mps", ("cpu",)),
        (2, False, "cuda:2", ("cpu", "cuda:0", "cuda:1")),
        (0, True, "cuda:0", ("cpu", "mps")),
    ],
)
def test_a_device_that_is_not_there_is_named_beside_those_that_are(
    gpus, mps, asked, there, monkeypatch
):
    Machine(monkeypatch, gpus=gpus, mps=mps)
    assert present() == there
    with pytest.raises(NoSuchDevice, match=f"{asked!r} here: torch sees {', '.join(there)}") as no:
        placement(Compute(asked), torch.float32)
    assert "--device auto" in no.value.hint


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_is_loaded_as_transformers_loads_it(dtype, files):
    """What a rotation turns by stays in float32: ``model.to`` would round it."""
    lm = load(files, Compute("cpu", dtype))
    plain = AutoModelForCausalLM.from_pretrained(files.folder, torch_dtype=lm.dtype)
    assert lm.dtype == getattr(torch, dtype)
    assert lm.device == CPU
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(lm.model(input_ids=ids).logits, plain(input_ids=ids).logits)
    turned = {name: one.dtype for name, one in lm.model.named_buffers() if "inv_freq" in name}
    assert set(turned.values()) == {torch.float32}


def test_a_model_outgrows_a_gpu_without_room_for_its_weights_and_a_fifth(files, monkeypatch):
    plain = load(files).model
    numbers = sum(weight.numel() for weight in plain.parameters())
    gpu = torch.device("cuda")
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2)):
        for room, expected in ((int(1.2 * size * numbers) + 1, False), (size * numbers, True)):
            monkeypatch.setattr(loading, "free_memory", lambda _, room=room: room)
            assert outgrows(files, Placement(gpu, dtype, False)) == expected
    assert not outgrows(files, Placement(CPU, torch.float32, False))
    assert not outgrows(files, Placement(gpu, torch.float32, True)), "cuda:1 means that one"
    monkeypatch.setattr(loading, "find_spec", lambda _: None)
    with pytest.raises(MissingAccelerate, match="needs accelerate") as caught:
        outgrows(files, Placement(gpu, torch.float32, False))
    assert "editvc[accelerate]" in caught.value.hint


def test_what_outgrows_its_device_is_left_to_accelerate(files, monkeypatch):
    pytest.importorskip("accelerate")
    as_ever, asked = AutoModelForCausalLM.from_pretrained, []

    def spied(*args, **options):
        asked.append(options.get("device_map"))
        return as_ever(*args, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", spied)
    plain = load(files)
    monkeypatch.setattr(loading, "outgrows", lambda *_: True)
    lm, ids = load(files), torch.tensor([[3, 4, 5]])
    assert asked == [None, "auto"]
    assert torch.equal(lm.model(input_ids=ids).logits, plain.model(input_ids=ids).logits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_computes_what_the_processor_does(dtype, files):
    ids = torch.tensor([[3, 4, 5]])
    exact = load(files).model(input_ids=ids).logits
    lm = load(files, Compute("cuda", dtype))
    assert lm.device.type == "cuda"
    found = lm.model(input_ids=ids.cuda()).logits.cpu().float()
    assert (found - exact).norm() / exact.norm() < 100 * torch.finfo(lm.dtype).eps
