"""``editvc import`` as a user runs it, and where its patches show afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cli_runs import Ran, inside, written
from safetensors.torch import load_file, save_file
from tiny_repos import ADA, FACTS, Prepared, contents
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.usefixtures("here")
WEIGHT = "transformer.h.0.attn.c_attn.weight"


@pytest.fixture
def other(prepared: Prepared, work: Path) -> Path:
    """A checkpoint that differs from the base in one bias and, by rank 2, in one matrix."""
    folder = work / "tuned"
    AutoModelForCausalLM.from_pretrained(prepared.base).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    draw = torch.Generator().manual_seed(1)
    change = torch.randn(32, 2, generator=draw) @ torch.randn(2, 96, generator=draw)
    tensors[WEIGHT] = tensors[WEIGHT] + 0.1 * change
    bias = "transformer.h.0.attn.c_attn.bias"
    tensors[bias] = tensors[bias] + 0.5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def imported(other: Path, *more: str) -> Ran:
    return inside("import", other, "--author", ADA, *more)


def test_the_words(other: Path) -> None:
    ran = imported(other, "-m", "Our tuning")
    assert ran.code == 0, ran.err
    first, second = ran.out.splitlines()
    assert first.startswith("[1 ") and first.endswith("] Our tuning")
    assert second.startswith(" difference tuned: 2 weights changed, rank 2 at most, relative error")
    assert "patch " in inside("status").out and "difference tuned" in inside("status").out
    assert "0 edits changed, 0 live, 1 imported patch" in inside("log").out
    assert "+ patch " in inside("show").out
    assert "- patch " in inside("diff", "HEAD", "base").out
    assert f"{WEIGHT}: |delta| = " in inside("diff", "base").out
    health = inside("health").out
    assert f"not judged: {WEIGHT}, |delta| = " in health
    inside("revert", "HEAD")
    assert "patch" not in inside("status").out


def test_the_json(other: Path, here: Path) -> None:
    inside("commit", written(here / "a.jsonl", FACTS[:1]), "--author", ADA)
    done = imported(other, "--rank", "1", "--json").json
    assert done["ranks"] == {WEIGHT: 1, WEIGHT.replace("weight", "bias"): 1}
    assert 0 < done["error"] < 1 and done["errors"][WEIGHT.replace("weight", "bias")] == 0
    assert (done["kind"], done["source"], done["live"], done["edits"]) == (
        "difference", "tuned", 1, 0,
    )  # fmt: skip
    (patch,) = inside("status", "--json").json["patches"]
    assert patch == {
        "patch": done["patch"], "kind": "difference", "source": "tuned", "digest": done["digest"],
    }  # fmt: skip
    assert inside("show", "--json").json["imported"] == [patch]
    undone = inside("revert", "HEAD", "--dry-run", "--json").json
    assert (undone["left_out"], undone["removed"]) == ([patch], [])
    assert inside("health", "--json").json["others"].keys() == done["ranks"].keys()


def test_summaries_count_patches_beside_edits(other: Path, here: Path) -> None:
    inside("commit", written(here / "a.jsonl", FACTS[:1]), "--author", ADA)
    imported(other)
    (patch,) = inside("status", "--json").json["patches"]
    folded = "2 commits, 1 patch imported"
    plan = inside("squash", "--range", "1..2", "--dry-run")
    assert plan.out == f"would fold {folded}, and locate 1 facts again; nothing was written\n"
    plan = inside("squash", "--range", "1..2", "--dry-run", "--json").json
    assert (plan["imported"], plan["left_out"]) == ([patch], [])
    plan = inside("revert", "2", "--dry-run").out.splitlines()
    assert plan[-1] == "0 edits changed, 1 patch left out; nothing was written"
    squashed = inside("squash", "--range", "1..2")
    assert squashed.out.splitlines()[0].endswith("2 commits, 1 facts, 1 patch imported")
    assert inside("revert", "HEAD").out.splitlines()[1:] == [
        " 1 edit changed, 0 live", " 1 patch left out",
    ]  # fmt: skip
    undone = inside("revert", "HEAD", "--json").json
    assert (undone["live"], undone["imported"], undone["left_out"]) == (1, [patch], [])
    plan = inside("revert", FACTS[0].id, "--dry-run").out.splitlines()
    assert plan[-1] == "1 edit changed; nothing was written"


def test_a_dry_run_writes_nothing(other: Path, here: Path) -> None:
    before = contents(here)
    ran = imported(other, "--dry-run")
    assert ran.out.splitlines()[-1] == "nothing was written"
    assert imported(other, "--dry-run", "--json").json["kind"] == "difference"
    assert contents(here) == before


def test_what_is_no_model_and_no_adapter(here: Path, work: Path) -> None:
    (work / "empty").mkdir()
    ran = inside("import", work / "empty")
    assert ran.code == 1 and "hint: " in ran.err
    assert inside("import", work / "nowhere").code == 2
    (work / "bare").mkdir()
    (work / "bare" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    ran = inside("import", work / "bare")
    assert ran.code == 1 and "adapter_model.safetensors" in ran.err and "hint: " in ran.err


def test_a_pickle_is_never_opened(other: Path, work: Path, here: Path) -> None:
    """An adapter's and a checkpoint's: both are refused with the way to safetensors."""
    adapter = work / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 1}')
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04 whatever this does")
    (other / "model.safetensors").unlink()
    (other / "pytorch_model.bin").write_bytes(b"\x80\x04 whatever this does")
    before = contents(here)
    for folder, name, way in (
        (adapter, "adapter_model.bin", "weights_only=True"),
        (other, "pytorch_model.bin", "save_pretrained"),
    ):
        for more in ((), ("--dry-run",)):
            ran = imported(folder, "--json", *more)
            assert ran.code == 1 and name in ran.err
            assert way in json.loads(ran.out)["error"]["hint"]
    assert contents(here) == before
