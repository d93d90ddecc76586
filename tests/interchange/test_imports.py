"""Adapters against PEFT's own model, differences against the other checkpoint's own weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import lm_of, saved
from tolerances import assert_near, assert_same_logits, cutting, error, rounding, size
from transformers import AutoModelForCausalLM

from editvc.algebra.delta import Delta, delta_from_bytes, delta_to_bytes
from editvc.interchange.base_weights import Imported, ImportRefused
from editvc.interchange.checkpoint_difference import difference, exact
from editvc.interchange.peft_reader import CONFIG, WEIGHTS, is_adapter, read_adapter
from editvc.models.architectures import architecture_of
from editvc.models.weights import apply_delta, edited, plus

IDS = torch.tensor([[5, 61, 7, 80, 9, 200]])
EVERYTHING = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": [f"{one}_proj" for one in ("q", "k", "v", "o", "gate", "up", "down")],
}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: saved(folder / name, name) for name in ("gpt2", "llama")}


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval().requires_grad_(False)


def adapted(base: Path, folder: Path, **settings: Any) -> Any:
    """A PEFT model of the base with random factors, saved as a user would save it."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 6} | settings)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT has remarks on most of what is refused here
        torch.manual_seed(1)
        model = get_peft_model(loaded(base), config)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(0, 0.2)
        model.save_pretrained(folder)
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def changed(base: Path, name: str, delta: Delta, dtype: torch.dtype = torch.float32) -> Any:
    """The base with what comes back from a stored delta."""
    back, _ = delta_from_bytes(delta_to_bytes(delta, {}))
    model = loaded(base, dtype)
    apply_delta(lm_of(model), back)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True, "r": 5},
        {"rank_pattern": {"c_fc": 2, "q_proj": 2}, "alpha_pattern": {"c_proj": 9, "v_proj": 9}},
        {"target_modules": ["c_attn", "q_proj", "v_proj"]},
    ],
    ids=["plain", "rslora", "patterns", "attention"],
)
def test_an_adapter_gives_pefts_logits(
    bases: dict[str, Path], tmp_path: Path, family: str, settings: dict[str, Any]
) -> None:
    base = bases[family]
    targets = {"target_modules": EVERYTHING[family], "fan_in_fan_out": family == "gpt2"}
    peft = adapted(base, tmp_path / "a", **targets | settings)
    made = read_adapter(tmp_path / "a", base, architecture_of(family))
    assert (made.kind, made.error, is_adapter(tmp_path / "a")) == ("lora", 0.0, True)
    # Stored: two factors, with the scaling multiplied into one of them.
    model = changed(base, family, made.delta, torch.float64)
    assert_same_logits(model, peft, IDS, stored=2, rank=5)
    assert error(logits(loaded(base)), logits(peft)) > 0.1, "or it changed nothing"


def test_heads_and_embeddings_that_are_not_tied(bases: dict[str, Path], tmp_path: Path) -> None:
    """PEFT saves both whole beside the factors; that they are the base's is seen."""
    targets = ["lm_head", "embed_tokens", "q_proj"]
    peft = adapted(bases["llama"], tmp_path / "a", target_modules=targets)
    made = read_adapter(tmp_path / "a", bases["llama"], architecture_of("llama"))
    model = changed(bases["llama"], "llama", made.delta, torch.float64)
    assert_same_logits(model, peft, IDS, stored=2, rank=4)
    tensors = load_file(tmp_path / "a" / WEIGHTS)
    whole = next(name for name in tensors if "lora_" not in name)
    save_file(tensors | {whole: tensors[whole] + 1}, tmp_path / "a" / WEIGHTS)
    with pytest.raises(ImportRefused, match="no factor of LoRA"):
        read_adapter(tmp_path / "a", bases["llama"], architecture_of("llama"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["ln_f"]}, "whole modules"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "biases"),
        ({"init_lora_weights": "pissa"}, "changed before training"),
        ({"target_modules": ["wte"]}, "one weight in the base"),
        ({"target_modules": ["lm_head"]}, "one weight in the base"),
    ],
    ids=str,
)
def test_what_no_delta_can_say_is_refused(
    bases: dict[str, Path], tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    targets = {"target_modules": ["c_attn"], "fan_in_fan_out": "target_modules" not in settings}
    adapted(bases["gpt2"], tmp_path / "a", **targets | settings)
    with pytest.raises(ImportRefused, match=reason) as caught:
        read_adapter(tmp_path / "a", bases["gpt2"], architecture_of("gpt2"))
    assert caught.value.hint


def test_settings_that_nobody_knows_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapted(bases["gpt2"], tmp_path / "a", target_modules=["c_attn"], fan_in_fan_out=True)
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    for more, reason in (
        ({"use_tomorrow": True}, "unknown to editvc"),
        ({"peft_type": "IA3"}, "type IA3"),
        ({"r": 3}, "rank 3"),
    ):
        (tmp_path / "a" / CONFIG).write_text(json.dumps(config | more))
        with pytest.raises(ImportRefused, match=reason):
            read_adapter(tmp_path / "a", bases["gpt2"], architecture_of("gpt2"))


def test_an_adapter_of_another_model(bases: dict[str, Path], tmp_path: Path) -> None:
    adapted(bases["llama"], tmp_path / "a", target_modules=["q_proj"])
    with pytest.raises(ImportRefused, match="no module"):
        read_adapter(tmp_path / "a", bases["gpt2"], architecture_of("gpt2"))
    tensors = load_file(tmp_path / "a" / WEIGHTS)
    wide = {
        name: torch.cat([part, part], dim=1) if "lora_A" in name else part
        for name, part in tensors.items()
    }
    save_file(wide, tmp_path / "a" / WEIGHTS)
    with pytest.raises(ImportRefused, match="shape"):
        read_adapter(tmp_path / "a", bases["llama"], architecture_of("llama"))
    (tmp_path / "a" / WEIGHTS).unlink()
    with pytest.raises(ImportRefused, match="cannot be read") as caught:
        read_adapter(tmp_path / "a", bases["llama"], architecture_of("llama"))
    assert "safetensors" in caught.value.hint


# differences ----------------------------------------------------------------------------------


def finetuned(base: Path, folder: Path, rank: int | None = None) -> Path:
    """The base with every parameter moved; matrices by a change of ``rank``, or of full rank."""
    model, draw = loaded(base), torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        if rank is None or parameter.ndim == 1:
            change = torch.randn(parameter.shape, generator=draw)
        else:
            u, v = parameter.shape
            left = torch.randn(u, rank, generator=draw)
            change = left @ torch.randn(rank, v, generator=draw)
        parameter.data += 0.02 * change
    shutil.copytree(base, folder)
    model.save_pretrained(folder)
    return folder


def taken(base: Path, folder: Path, **cut: Any) -> Imported:
    family = json.loads((base / "config.json").read_text())["model_type"]
    return difference(folder, base, architecture_of(family), **cut)


def test_a_whole_difference_is_the_other_checkpoint(
    bases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    other = finetuned(bases[family], tmp_path / "other")
    made = taken(bases[family], other, energy=1.0)
    assert made.error == 0.0
    found, wanted = changed(bases[family], family, made.delta), loaded(other)
    for (name, mine), (_, theirs) in zip(
        found.named_parameters(), wanted.named_parameters(), strict=True
    ):
        if mine.ndim == 1:
            assert torch.equal(mine, theirs), name
        else:
            # The difference is rounded to float32, and so is its sum with the base.
            assert_near(mine, theirs, rounding(1, torch.float32))


@pytest.mark.parametrize("cut", [{"energy": 0.9}, {"rank": 3}, {}], ids=str)
def test_the_stated_error_is_the_error(
    bases: dict[str, Path], tmp_path: Path, family: str, cut: dict[str, Any]
) -> None:
    base = bases[family]
    other = finetuned(base, tmp_path / "other")
    made = taken(base, other, **cut)
    old, new, rebuilt = (
        dict(model.named_parameters())
        for model in (
            loaded(base, torch.float64),
            loaded(other, torch.float64),
            changed(base, family, made.delta, torch.float64),
        )
    )
    # Both factors are rounded to float32: relative to |L| |R|, the sum of the singular values, and
    # so at most sqrt(rank) times the norm of the whole. No rank is more than 48.
    bound = rounding(1, torch.float32, scale=48**0.5)
    lost, whole = [], []
    for name, stated in made.errors.items():
        lost.append(size(new[name] - rebuilt[name]))
        whole.append(size(new[name] - old[name]))
        assert abs(lost[-1] / whole[-1] - stated) <= bound, name
    assert abs(size(lost) / size(whole) - made.error) <= bound
    matrices = [stated for name, stated in made.errors.items() if new[name].ndim == 2]
    assert max(matrices) > 1e-3, "or nothing was cut"
    if "rank" not in cut:
        # Energies are sums over the singular values, of which no matrix has more than 48.
        assert max(matrices) ** 2 <= 1 - cut.get("energy", 0.999) + rounding(48)


def test_factors_are_the_best_of_their_rank(bases: dict[str, Path], tmp_path: Path) -> None:
    """Eckart-Young, by the SVD of the dense difference."""
    other = finetuned(bases["llama"], tmp_path / "other")
    made = taken(bases["llama"], other, rank=3)
    name = "model.layers.1.self_attn.q_proj.weight"
    old, new = (dict(loaded(f).named_parameters())[name] for f in (bases["llama"], other))
    left, values, right = torch.linalg.svd(new.double() - old.double())
    best = left[:, :3] * values[:3] @ right[:3]
    assert_near(made.delta.weights[name].dense(), best, rounding(new.numel()) * cutting(values, 3))


def test_a_change_of_low_rank_is_found_to_be_one(bases: dict[str, Path], tmp_path: Path) -> None:
    other = finetuned(bases["gpt2"], tmp_path / "other", rank=2)
    made = taken(bases["gpt2"], other)
    assert made.delta.rank == 2
    # What is beyond the rank is that the other checkpoint was rounded to float32.
    old, new = (
        torch.cat([p.flatten() for p in loaded(f).parameters()]) for f in (bases["gpt2"], other)
    )
    assert made.error <= rounding(1, torch.float32, scale=size(new) / size(new - old))
    assert sorted(made.delta.layers) == [0, 1, 2, 3]
    assert made.delta.layers[0].shape == (32, 128), "down projections as (hidden, inner)"


def test_a_vector_is_kept_to_the_last_bit() -> None:
    vector = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    part = exact(vector)
    assert part.rank == 2
    # Two float32 numbers, the second the rounding of the first, which is rounded in its turn.
    assert_near(part.dense()[:, 0], vector, rounding(1, torch.float32) ** 2)
    back, _ = delta_from_bytes(delta_to_bytes(Delta({}, {"x.bias": part}), {}))
    assert torch.equal(back.weights["x.bias"].dense(), part.dense())
    assert exact(torch.ones(3).double()).rank == 1


def test_a_copy_has_no_difference(bases: dict[str, Path], family: str) -> None:
    made = taken(bases[family], bases[family])
    assert made.delta.is_empty and made.errors == {} and made.notes == ()


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


NORM, HEAD = "transformer.ln_f.weight", "lm_head.weight"
EMBEDDING = "transformer.wte.weight"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop(NORM), f"no tensor '{NORM}'"),
        (lambda t: t.update({NORM: t[NORM][:-1].clone()}), "shape"),
        (lambda t: t.update({"score.weight": torch.ones(2, 2)}), "'score.weight'"),
        (lambda t: t.update({HEAD: t[EMBEDDING] + 1}), "one weight in the base, and differ"),
        (lambda t: t.update({NORM: t[NORM] * float("nan")}), "not finite"),
        (lambda t: t.update({NORM: (t[NORM] + 1).int()}), "floating"),
    ],
    ids=["missing", "shape", "unknown", "untied", "nan", "integers"],
)
def test_checkpoints_that_differ_in_more_than_values(
    bases: dict[str, Path], tmp_path: Path, change: Callable[..., object], reason: str
) -> None:
    other = rewritten(shutil.copytree(bases["gpt2"], tmp_path / "other"), change)
    with pytest.raises(ImportRefused, match=reason):
        taken(bases["gpt2"], other)


def test_a_tied_copy_in_the_other_checkpoint_is_no_matter(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    def tied(tensors: dict[str, Any]) -> None:
        tensors[EMBEDDING] = tensors[EMBEDDING] + 0.5
        tensors[HEAD] = tensors[EMBEDDING].clone()

    other = rewritten(shutil.copytree(bases["gpt2"], tmp_path / "other"), tied)
    assert list(taken(bases["gpt2"], other).errors) == [EMBEDDING]


def test_settings_that_differ_are_named(bases: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copytree(bases["gpt2"], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 0.1}))
    assert "layer_norm_epsilon" in taken(bases["gpt2"], other).notes[0]
    with pytest.raises(ImportRefused, match="it is a 'llama', the base a 'gpt2'"):
        taken(bases["gpt2"], bases["llama"])


def test_the_model_is_put_back_after_other_weights(bases: dict[str, Path], tmp_path: Path) -> None:
    made = taken(bases["gpt2"], finetuned(bases["gpt2"], tmp_path / "other"))
    model = loaded(bases["gpt2"])
    before = {name: one.clone() for name, one in model.named_parameters()}
    with edited(lm_of(model), made.delta):
        assert not any(torch.equal(before[name], one) for name, one in model.named_parameters())
    assert all(torch.equal(before[name], one) for name, one in model.named_parameters())


def with_factors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_an_untrained_adapter_changes_nothing(
    family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    """It was "8 weights changed" with another digest."""
    adapted(bases[family], tmp_path / "a", target_modules=EVERYTHING[family])

    def untrained(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if "lora_B" in name:
                tensor.zero_()

    with_factors(tmp_path / "a", untrained)
    taken = read_adapter(tmp_path / "a", bases[family], architecture_of(family))
    assert taken.delta.is_empty and not taken.errors


def test_a_module_that_an_adapter_leaves_alone_is_not_changed(
    family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    adapted(bases[family], tmp_path / "a", target_modules=EVERYTHING[family])
    whole = read_adapter(tmp_path / "a", bases[family], architecture_of(family))
    with_factors(
        tmp_path / "a", lambda tensors: next(t for n, t in tensors.items() if "lora_B" in n).zero_()
    )
    taken = read_adapter(tmp_path / "a", bases[family], architecture_of(family))
    assert len(taken.delta.parts) == len(whole.delta.parts) - 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_factor_that_is_no_number_is_named(
    family: str, bases: dict[str, Path], tmp_path: Path, value: float
) -> None:
    adapted(bases[family], tmp_path / "a", target_modules=EVERYTHING[family])
    name = sorted(load_file(tmp_path / "a" / WEIGHTS))[3]
    with_factors(tmp_path / "a", lambda tensors: tensors[name].view(-1)[0].fill_(value))
    with pytest.raises(ImportRefused, match=name):
        read_adapter(tmp_path / "a", bases[family], architecture_of(family))


@pytest.mark.parametrize("key", ["lora_alpha", "r"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", '"eight"', "true"])
def test_a_scale_that_is_no_number_is_named(
    bases: dict[str, Path], tmp_path: Path, key: str, value: str
) -> None:
    adapted(bases["llama"], tmp_path / "a", target_modules=["q_proj"])
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    text = json.dumps(config | {key: "HERE"}).replace('"HERE"', value)
    (tmp_path / "a" / CONFIG).write_text(text)
    with pytest.raises(ImportRefused, match=key):
        read_adapter(tmp_path / "a", bases["llama"], architecture_of("llama"))


def test_a_pickled_adapter_is_converted_by_the_command_that_is_told(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "an adapter"
    adapted(bases["llama"], folder, target_modules=EVERYTHING["llama"])
    whole = read_adapter(folder, bases["llama"], architecture_of("llama"))
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ImportRefused, match=r"adapter_model\.bin, a pickle") as caught:
        read_adapter(folder, bases["llama"], architecture_of("llama"))
    command = caught.value.hint.partition("convert it: ")[2]
    command = command.replace("python", sys.executable)
    subprocess.run(["sh", "-c", command], check=True, cwd="/")
    taken = read_adapter(folder, bases["llama"], architecture_of("llama"))
    assert taken.digest == whole.digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_delta_of_zero_leaves_every_byte(dtype: torch.dtype) -> None:
    """A zero has a sign, and -0.0 + 0.0 is 0.0."""
    weight = torch.tensor([[-0.0, 0.0], [1.5, -0.0]], dtype=dtype)
    added = torch.tensor([[0.0, 0.0], [0.0, 0.25]], dtype=torch.float64)
    after = plus(weight, added).to(dtype)
    assert torch.signbit(after).tolist() == [[True, False], [False, False]]
    assert after.double().tolist() == [[0.0, 0.0], [1.5, 0.25]]
    assert torch.equal(plus(weight, added), weight.double() + added)


@pytest.mark.parametrize(
    "patterns", [5, ["x"], "x", {"(a+)+": 2}, {"(a|aa)*": 2}, {".*.*.*": 2}, {"(": 2}, {"[": 2}]
)
def test_patterns_that_are_none_or_never_end_are_refused(tmp_path: Path, patterns: object) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "rank_pattern": patterns}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    base, module = saved(tmp_path / "base", "llama"), "model.layers.0.mlp.down_proj"
    out, inner = load_file(base / "model.safetensors")[f"{module}.weight"].shape
    factors = {"A": torch.ones(2, inner), "B": torch.ones(out, 2)}
    save_file(
        {f"base_model.model.{module}.lora_{side}.weight": one for side, one in factors.items()},
        tmp_path / WEIGHTS,
    )
    with pytest.raises(ImportRefused, match="pattern"):
        read_adapter(tmp_path, base, architecture_of("llama"))
