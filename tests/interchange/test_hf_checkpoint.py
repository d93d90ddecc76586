"""Whole-model exports: exactly the touched tensors change, everything else byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from publish_models import FAMILIES, LAYERS, random_delta
from safetensors.torch import load_file, save_file
from tiny_models import lm_of
from tolerances import assert_near, rounding, size

from editvc.algebra.delta import Delta, delta_to_bytes
from editvc.algebra.factored import Factored
from editvc.core.output_path import TargetError
from editvc.core.tensor_header import read_head, read_record
from editvc.interchange.delta_file import DELTA, export_delta, read_delta
from editvc.interchange.hf_checkpoint import (
    Exported,
    ExportError,
    changes_of,
    export_hf,
)
from editvc.interchange.manifest import MANIFEST
from editvc.interchange.reload_check import ReloadError, verify_reload
from editvc.models.architectures import architecture_of
from editvc.models.checkpoint import Checkpoint, TensorNotFound, weights_digest

MakeBase = Callable[..., Path]
TOUCHED = {1: 2, 10: 3}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for f in folder.glob("*.safetensors") for name, t in load_file(f).items()}


def slow_weight(weight: torch.Tensor, dense: torch.Tensor, transposed: bool) -> torch.Tensor:
    """The specification: one dense sum in float64, cast once."""
    return (weight.double() + (dense.T if transposed else dense)).to(weight.dtype)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_only_the_touched_tensors_change(
    make_base: MakeBase, tmp_path: Path, family: str, dtype: torch.dtype, shard: str
) -> None:
    base = make_base(family, dtype, shard)
    architecture, delta = architecture_of(family), random_delta(TOUCHED)
    assert (len(list(base.glob("*.safetensors"))) > 1) == (shard == "20KB")

    result = export_hf(base, tmp_path / "out", changes_of(architecture, delta))

    before, after = weights(base), weights(tmp_path / "out")
    expected = {architecture.weight_name(layer): part for layer, part in delta.layers.items()}
    assert set(result.touched) == set(expected)
    for name, tensor in before.items():
        if name in expected:
            tensor = slow_weight(tensor, expected[name].dense(), architecture.transposed)
        assert after[name].dtype == dtype
        assert torch.equal(after[name], tensor), name
    old, new = files(base), files(tmp_path / "out")
    changed = {name for name in new.keys() & old.keys() if new[name] != old[name]}
    assert changed == {Checkpoint(base).tensors[name].name for name in expected}
    assert new.keys() - old.keys() == {MANIFEST}
    assert old.keys() - new.keys() == {"README.md"}


def test_headers_of_rewritten_shards_are_kept(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base("gpt2", torch.float16)
    export_hf(base, tmp_path / "out", changes_of(architecture_of("gpt2"), random_delta({3: 1})))
    for source in Checkpoint(base).shards:
        header = Checkpoint(base).shard(source).header
        assert (tmp_path / "out" / source.name).read_bytes().startswith(header)


@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_where_weights_are_from_stands_in_the_headers_of_rewritten_shards(
    make_base: MakeBase, tmp_path: Path, shard: str
) -> None:
    base, origin = make_base("llama", torch.float32, shard), {"kind": "weights", "tree": "t"}
    changes = changes_of(architecture_of("llama"), random_delta({0: 1}))
    plain = export_hf(base, tmp_path / "plain", changes)
    named = export_hf(base, tmp_path / "named", changes, origin=origin)
    assert named.digest == plain.digest
    written = Checkpoint(tmp_path / "named")
    rewritten = {written.tensors[name] for name in named.touched}
    for path in written.shards:
        metadata = written.shard(path).metadata
        assert metadata["format"] == "pt" and (path in rewritten) == ("editvc" in metadata)
        assert load_file(path).keys() == written.shard(path).infos.keys()
        if path in rewritten:
            assert read_record(read_head(path)) == origin
    again = export_hf(tmp_path / "named", tmp_path / "again", changes, origin={"kind": "weights"})
    assert read_record(read_head(tmp_path / "again" / min(rewritten).name)) == {"kind": "weights"}
    assert again.base_digest == named.digest


def test_digests_are_those_of_the_folders(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base("llama", torch.float32, "20KB")
    changes = changes_of(architecture_of("llama"), random_delta({0: 1}))
    result = export_hf(base, tmp_path / "out", changes)
    assert result.base_digest == weights_digest(Checkpoint(base).digests())
    assert result.digest == weights_digest(Checkpoint(tmp_path / "out").digests())
    assert result.digest != result.base_digest
    single = export_hf(make_base("llama"), tmp_path / "single", changes)
    assert (single.base_digest, single.digest) == (result.base_digest, result.digest)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["digest"] == result.digest
    assert manifest["touched"] == ["model.layers.0.mlp.down_proj.weight"]


def test_an_empty_delta_gives_the_base(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base("gpt2")
    result = export_hf(base, tmp_path / "out", {})
    assert result.digest == result.base_digest
    assert result.touched == ()


def test_a_change_below_the_resolution_is_not_called_touched(
    make_base: MakeBase, tmp_path: Path
) -> None:
    base = make_base("gpt2", torch.float16)
    tiny = random_delta({2: 1}, scale=1e-8)
    result = export_hf(base, tmp_path / "out", changes_of(architecture_of("gpt2"), tiny))
    assert result.touched == ()
    assert "below the resolution of F16" in result.notes[-1]


def test_names_without_the_prefix_are_found(make_base: MakeBase, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name, data in files(make_base("gpt2")).items():
        (base / name).write_bytes(data)
    bare = {
        name.removeprefix("transformer."): tensor
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(bare, base / "model.safetensors", metadata={"format": "pt"})
    changes = changes_of(architecture_of("gpt2"), random_delta({4: 1}))
    result = export_hf(base, tmp_path / "out", changes)
    assert result.touched == ("h.4.mlp.c_proj.weight",)
    assert len(verify_reload(tmp_path / "out", architecture_of("gpt2"), ["The capital"])) == 1


def test_foreign_weights_and_the_base_card_stay_behind(make_base: MakeBase, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name, data in files(make_base("gpt2")).items():
        (base / name).write_bytes(data)
    stale = ["pytorch_model.bin", "tf_model.h5", "model.gguf", "model-00001-of-00002.safetensors"]
    stale += ["model.safetensors.index.json", "onnx/model.onnx", "adapter_config.json"]
    kept = ["NOTICE", "USE_POLICY.md", "additional_chat_templates/tool.jinja", "modeling_x.py"]
    for name in [*stale, *kept, ".git/config", "editvc.lock.json"]:
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text("x")
    result = export_hf(base, tmp_path / "out", {})
    new = files(tmp_path / "out")
    assert set(kept) <= set(new)
    assert not (set(stale) | {".git/config", "editvc.lock.json", "README.md"}) & set(new)
    assert all(name in result.notes[0] for name in stale)
    assert "unedited" in result.notes[0]
    assert "README.md" in result.notes[1]
    assert "editvc.lock.json" in result.notes[1]


def test_symlinked_files_are_copied_as_files(make_base: MakeBase, tmp_path: Path) -> None:
    base = tmp_path / "snapshot"
    base.mkdir()
    for path in make_base("gpt2").iterdir():
        (base / path.name).symlink_to(path)
    export_hf(base, tmp_path / "out", changes_of(architecture_of("gpt2"), random_delta({0: 1})))
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert set(files(make_base("gpt2"))) - {"README.md"} <= set(files(tmp_path / "out"))


@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e6])
def test_values_that_do_not_fit_are_refused_by_name(
    make_base: MakeBase, tmp_path: Path, bad: float
) -> None:
    base = make_base("gpt2", torch.float16)
    name = "transformer.h.1.mlp.c_proj.weight"

    def spoil(weight: torch.Tensor) -> torch.Tensor:
        weight = weight.double()
        weight[0, 0] = bad
        return weight

    with pytest.raises(ExportError, match=r"h\.1\.mlp\.c_proj\.weight.*float16") as caught:
        export_hf(base, tmp_path / "out", {name: spoil})
    assert caught.value.tensor == name
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_delta_of_another_model_is_refused(make_base: MakeBase, tmp_path: Path) -> None:
    part = random_delta({1: 2}).layers[1]
    flipped = Delta({1: Factored(part.right.T, part.left.T)})
    with pytest.raises(ExportError, match="does not take this change"):
        export_hf(make_base("gpt2"), tmp_path / "out", changes_of(architecture_of("gpt2"), flipped))
    beyond = random_delta({LAYERS: 1})
    with pytest.raises(TensorNotFound, match=rf"h\.{LAYERS}\."):
        export_hf(make_base("gpt2"), tmp_path / "out", changes_of(architecture_of("gpt2"), beyond))
    assert list(tmp_path.iterdir()) == []


def test_one_tensor_under_two_names_is_refused(make_base: MakeBase, tmp_path: Path) -> None:
    name = "transformer.h.1.mlp.c_proj.weight"
    same = {name: torch.Tensor.double, f"x.{name}": torch.Tensor.double}
    with pytest.raises(TensorNotFound, match="changed twice"):
        export_hf(make_base("gpt2"), tmp_path / "out", same)


def test_a_quantised_weight_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    save_file({"w": torch.zeros(2, 2, dtype=torch.int8)}, base / "model.safetensors")
    with pytest.raises(ExportError, match="stored as I8"):
        export_hf(base, tmp_path / "out", {"w": torch.Tensor.double})


def test_targets_in_use_are_refused_and_left_alone(make_base: MakeBase, tmp_path: Path) -> None:
    base, out = make_base("gpt2"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for replace in (False, True):
        with pytest.raises(TargetError, match="not empty"):
            export_hf(base, out, {}, replace=replace)
    assert files(out) == {"thesis.txt": b"mine"}
    with pytest.raises(TargetError, match="is the base model itself"):
        export_hf(base, base, {}, replace=True)
    with pytest.raises(TargetError, match="is a file"):
        export_hf(base, out / "thesis.txt", {})


def test_an_earlier_export_is_replaced_only_when_asked(make_base: MakeBase, tmp_path: Path) -> None:
    base, out = make_base("gpt2"), tmp_path / "out"
    out.mkdir()
    first = export_hf(base, out, {})
    (out / "left-over.txt").write_text("old")
    with pytest.raises(TargetError, match="already holds an export"):
        export_hf(base, out, {})
    changes = changes_of(architecture_of("gpt2"), random_delta({0: 1}))
    with pytest.raises(TargetError, match=r"left-over\.txt \(was not written by"):
        export_hf(base, out, changes, replace=True)
    assert files(out)["left-over.txt"] == b"old", "nobody else's file is removed"
    (out / "left-over.txt").unlink()
    second = export_hf(base, out, changes, replace=True)
    assert second.digest != first.digest
    assert weights_digest(Checkpoint(out).digests()) == second.digest
    assert json.loads(files(out)["editvc.json"])["files"] == {
        name: sha256(data).hexdigest() for name, data in files(out).items() if name != "editvc.json"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("step", ["change", "documents", "check", "progress"])
def test_a_crash_leaves_no_half_export(make_base: MakeBase, tmp_path: Path, step: str) -> None:
    """Whatever fails, and whenever: the old export stays whole, and nothing lies beside it."""
    base, out = make_base("gpt2"), tmp_path / "out"
    export_hf(base, out, {})
    before = files(out)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    changes = {
        "transformer.h.0.mlp.c_proj.weight": fail if step == "change" else torch.Tensor.double
    }
    hooks = {} if step == "change" else {step: fail}
    with pytest.raises(KeyboardInterrupt):
        export_hf(base, out, changes, replace=True, **hooks)
    assert files(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_documents_see_the_digests_and_check_sees_the_folder(
    make_base: MakeBase, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def documents(result: Exported) -> dict[str, str | bytes]:
        return {"README.md": f"digest {result.digest}", "raw.bin": b"\x00"}

    def check(folder: Path) -> None:
        assert not (tmp_path / "out").exists()
        seen.append(verify_reload(folder, architecture_of("gpt2"), ["The capital of France is"]))

    result = export_hf(make_base("gpt2"), tmp_path / "out", {}, documents=documents, check=check)
    assert (tmp_path / "out" / "README.md").read_text() == f"digest {result.digest}"
    assert len(seen[0]) == 1


def test_progress_counts_every_tensor(make_base: MakeBase, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    base = make_base("llama", torch.float32, "20KB")
    export_hf(base, tmp_path / "out", {}, progress=lambda *call: calls.append(call))
    total = len(Checkpoint(base).tensors)
    assert {label: (done, of) for label, done, of in calls} == dict.fromkeys(
        ["writing", "hashing the base", "hashing the export"], (total, total)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_generates_as_the_edited_model_does(
    make_base: MakeBase, tmp_path: Path, family: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, delta, architecture = make_base(family), random_delta(TOUCHED), architecture_of(family)
    export_hf(base, tmp_path / "out", changes_of(architecture, delta))
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    for layer, part in delta.layers.items():
        weight = lm_of(model).down_proj(layer).weight
        weight.data = slow_weight(weight.data, part.dense(), architecture.transposed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompts = ["The capital of France is", "The author"]
    expected = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        for _ in range(6):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        expected.append(tokenizer.decode(ids[0])[len(prompt) :])
    edited = verify_reload(tmp_path / "out", architecture, prompts, max_new_tokens=6)
    assert all(edited)
    assert all(
        slow.startswith(fast) or fast == slow for fast, slow in zip(edited, expected, strict=True)
    )
    assert edited != verify_reload(base, architecture, prompts, max_new_tokens=6)


def test_a_folder_with_missing_weights_does_not_verify(make_base: MakeBase, tmp_path: Path) -> None:
    export_hf(make_base("gpt2"), tmp_path / "out", {})
    kept = load_file(tmp_path / "out" / "model.safetensors")
    del kept["transformer.h.1.mlp.c_proj.weight"]
    save_file(kept, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ReloadError, match=r"missing: .*h\.1\.mlp\.c_proj\.weight"):
        verify_reload(tmp_path / "out", architecture_of("gpt2"), ["x"])
    (tmp_path / "out" / "config.json").unlink()
    with pytest.raises(ReloadError, match="does not load it"):
        verify_reload(tmp_path / "out", architecture_of("gpt2"), ["x"])


def test_a_delta_alone_comes_back(tmp_path: Path) -> None:
    delta = random_delta({1: 2, 5: 0})
    data = delta_to_bytes(delta, {"tree": "abc"})
    assert export_delta(tmp_path / "d", data) == {"1": 2, "5": 0}
    assert (tmp_path / "d" / DELTA).read_bytes() == data
    back, metadata = read_delta(tmp_path / "d")
    assert metadata == {"tree": "abc"}
    # Two factors rounded to float32: one eps of |L| |R|.
    part = delta.layers[1]
    bound = rounding(1, torch.float32)
    assert_near(back.layers[1].dense(), part.dense(), bound, size(part.left) * size(part.right))
    manifest = json.loads((tmp_path / "d" / MANIFEST).read_text())
    assert (manifest["format"], manifest["ranks"]) == ("delta", {"1": 2, "5": 0})
    assert set(files(tmp_path / "d")) == {MANIFEST, DELTA}


def test_memory_is_that_of_a_few_tensors(tmp_path: Path) -> None:
    """A shard of 96 MB, one of its 24 tensors changed: far less than the shard is ever held."""
    base = tmp_path / "base"
    base.mkdir()
    rows = {f"t{number}": torch.full((1024, 1024), float(number)) for number in range(24)}
    save_file(rows, base / "model.safetensors")
    code = f"""
import resource, sys
from pathlib import Path
import torch
from editvc.interchange.hf_checkpoint import export_hf
torch.ones(1).double()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
export_hf(Path({str(base)!r}), Path({str(tmp_path / "out")!r}), {{"t3": lambda w: w.double() + 1}})
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 48 * 1024
    assert torch.equal(weights(tmp_path / "out")["t3"], rows["t3"] + 1)
