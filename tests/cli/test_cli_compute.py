"""--device and --dtype: the option, else the environment, else config.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import inside, written
from tiny_repos import FACTS, Prepared

from editvc import Repo
from editvc.models.language_model import LanguageModel
from editvc.porcelain import ask as verb
from editvc.porcelain import export_hf


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes of the models that `ask` asks, in turn."""
    seen: list[torch.dtype] = []

    def answer(lm: LanguageModel, prompt: str, _tokens: int) -> str:
        seen.append(lm.dtype)
        return prompt

    monkeypatch.setattr(verb, "generate", answer)
    return seen


def test_the_nearest_word_counts(
    here: Path, dtypes: list[torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside("ask", "x")
    inside("config", "compute.dtype", "bfloat16")
    inside("ask", "x")
    monkeypatch.setenv("EDITVC_DTYPE", "float16")
    inside("ask", "x")
    inside("ask", "x", "--dtype", "float32")
    assert dtypes == [torch.float32, torch.bfloat16, torch.float16, torch.float32]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--device", "gpu", ["device 'gpu'", "auto, cpu, cuda, cuda:1"]),
        ("--device", "cuda:99", ["no device 'cuda:99' here: torch sees cpu", "--device auto"]),
        ("--dtype", "fp16", ["dtype 'fp16'", "float32, bfloat16 or float16"]),
    ],
)
def test_what_is_none_is_answered_with_what_there_is(
    here: Path, option: str, value: str, words: list[str]
) -> None:
    done = inside("ask", "x", option, value)
    assert done.code == 1
    assert all(word in done.err for word in words)


def test_a_model_can_be_made_and_edited_in_bfloat16(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From init to export, whose check runs like the revision that it checks."""
    as_ever, checked = export_hf.verify_reload, []

    def verify_reload(*args: Any, **options: Any) -> list[str]:
        checked.append((options["dtype"], options["device"].type))
        return as_ever(*args, **options)

    monkeypatch.setattr(export_hf, "verify_reload", verify_reload)
    repo = Repo.init(
        tmp_path / "work", str(prepared.base), layers=[1, 2], texts=[prepared.text],
        entities=prepared.names, device="cpu", dtype="bfloat16",
    )  # fmt: skip
    repo.commit(list(FACTS[:2]))
    assert repo.session.base_model().dtype == torch.bfloat16
    repo.export(tmp_path / "out")
    assert checked == [(torch.bfloat16, "cpu")]
    repo.export(tmp_path / "adapter", format="lora")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
@pytest.mark.parametrize("method", ["memit", "gated"])
def test_a_gpu_makes_asks_and_exports_what_the_processor_reads(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """From ``init`` on; what is written is read on the CPU."""
    monkeypatch.chdir(tmp_path)
    sources = ["--text", prepared.text, "--entities", prepared.names]
    there = ["--device", "cuda"]
    ran = inside("init", prepared.base, *sources, "--method", method, *there)
    assert ran.code == 0, ran.err
    facts = written(tmp_path / "facts.jsonl", FACTS[:2])
    ran = inside("commit", facts, "--method", method, *there)
    assert ran.code == 0, ran.err
    for device in ("cuda", "cpu"):
        assert inside("ask", "The capital of France is", "--device", device).code == 0
    ran = inside("export", "--to", "out", *there)
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert inside("fsck").code == 0
