"""PEFT adapters, loaded by PEFT itself, against the model with the dense delta added."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from publish_models import FAMILIES, HIDDEN, INNER, LAYERS, random_delta
from safetensors.torch import load_file
from tiny_models import lm_of
from tolerances import assert_near, assert_same_logits, longest_sum, model_rounding, rounding, size
from transformers import AutoModelForCausalLM, AutoTokenizer

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.core.output_path import TargetError
from editvc.core.tensor_header import read_head, read_record
from editvc.interchange.manifest import MANIFEST
from editvc.interchange.peft_writer import (
    CONFIG,
    FORMAT,
    STEPS,
    WEIGHTS,
    AdapterError,
    export_lora,
    step_for,
)
from editvc.interchange.reload_check import ReloadError, verify_adapter
from editvc.models.architectures import architecture_of

MakeBase = Callable[..., Path]
PROMPTS = ["The capital of France is", "The author of Emma"]


def test_where_an_adapter_is_from_stands_in_its_header(tmp_path: Path) -> None:
    architecture, delta = architecture_of("llama"), random_delta({0: 1})
    origin = {"kind": "weights", "commit": "c", "tree": "t"}
    plain = export_lora(tmp_path / "plain", architecture, delta, base="org/base")
    named = export_lora(tmp_path / "named", architecture, delta, base="org/base", origin=origin)
    assert named.digest == plain.digest
    assert read_record(read_head(tmp_path / "named" / WEIGHTS)) == origin
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ("plain", "named"))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def edited_model(base: Path, family: str, delta: Delta, dtype: torch.dtype = torch.float32) -> Any:
    """The slow way: the dense delta added to the loaded weight."""
    architecture = architecture_of(family)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype).eval()
    for layer, part in delta.layers.items():
        weight = lm_of(model).down_proj(layer).weight
        dense = part.dense().T if architecture.transposed else part.dense()
        weight.data = (weight.data.double() + dense).to(weight.dtype)
    return model


def in_peft(base: Path, adapter: Path, dtype: torch.dtype) -> Any:
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return PeftModel.from_pretrained(model, adapter).to(dtype).eval()


def logits(model: Any, base: Path) -> torch.Tensor:
    """Of all prompts, (tokens, vocabulary)."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in PROMPTS]
    return torch.cat(rows)


@pytest.mark.filterwarnings("error:fan_in_fan_out", "error::FutureWarning")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "ranks",
    [{3: 4}, {0: 2, 1: 3, 11: 2}, dict.fromkeys(range(LAYERS), 2), {1: HIDDEN + 9}, {1: 1, 2: 0}],
    ids=["one", "several ranks", "every layer", "more edits than rows", "an empty layer"],
)
def test_peft_gives_the_edited_logits(
    make_base: MakeBase, tmp_path: Path, family: str, ranks: dict[int, int]
) -> None:
    # Layers 1 and 11 at once: a substring or suffix that hits both would show.
    base, delta = make_base(family), random_delta(ranks, scale=0.2)
    adapter = export_lora(tmp_path / "a", architecture_of(family), delta, base=str(base))
    assert set(adapter.errors.values()) == {0.0}
    edited = edited_model(base, family, delta)
    # A product through the adapter sums over the inner size and over the rank.
    terms = longest_sum(edited) + max(ranks.values())
    bound = model_rounding(lambda model: logits(model, base), edited, terms)
    largest = bound * size(logits(edited, base))
    worst = verify_adapter(base, tmp_path / "a", lm_of(edited), PROMPTS)
    assert_near(worst, 0.0, largest, scale=1.0)
    # The comparison can fail: against the unedited model it does.
    unedited = lm_of(edited_model(base, family, Delta()))
    assert verify_adapter(base, tmp_path / "a", unedited, PROMPTS) > 10 * largest


@pytest.mark.parametrize("family", FAMILIES)
def test_pefts_logits_differ_by_what_storing_the_factors_rounds(
    make_base: MakeBase, tmp_path: Path, family: str
) -> None:
    """In float64 nothing else is left: a scaling that is off by 1e-5 would show."""
    base, delta = make_base(family), random_delta({0: 2, 1: 3, 11: 2}, scale=0.2)
    export_lora(tmp_path / "a", architecture_of(family), delta, base=str(base))
    adapted = in_peft(base, tmp_path / "a", torch.float64)
    edited = edited_model(base, family, delta, torch.float64)
    ids = AutoTokenizer.from_pretrained(base)(PROMPTS[0], return_tensors="pt").input_ids
    assert_same_logits(edited, adapted, ids, stored=2, rank=3)


def test_logits_that_are_no_numbers_do_not_agree(make_base: MakeBase, tmp_path: Path) -> None:
    base, delta = make_base("gpt2"), random_delta({3: 4})
    export_lora(tmp_path / "a", architecture_of("gpt2"), delta, base=str(base))
    broken = edited_model(base, "gpt2", delta)
    broken.transformer.h[3].mlp.c_proj.weight.data.fill_(float("nan"))
    assert math.isnan(verify_adapter(base, tmp_path / "a", lm_of(broken), PROMPTS))


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_touches_the_named_layers_only(
    make_base: MakeBase, tmp_path: Path, family: str
) -> None:
    from peft import PeftModel

    base = make_base(family)
    export_lora(tmp_path / "a", architecture_of(family), random_delta({1: 2}), base=str(base))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "a")
    adapted = {name for name, _ in model.named_parameters() if "lora_" in name}
    path = architecture_of(family).weight_name(1).removesuffix(".weight")
    assert adapted == {f"base_model.model.{path}.lora_{side}.default.weight" for side in ("A", "B")}


def test_merging_in_peft_gives_the_exported_weight(make_base: MakeBase, tmp_path: Path) -> None:
    base, delta = make_base("gpt2"), random_delta({2: 3})
    export_lora(tmp_path / "a", architecture_of("gpt2"), delta, base=str(base))
    model = in_peft(base, tmp_path / "a", torch.float32)
    merged = model.merge_and_unload().transformer.h[2].mlp.c_proj.weight
    expected = edited_model(base, "gpt2", delta).transformer.h[2].mlp.c_proj.weight
    # Both factors rounded, a sum of three products, and the weight added.
    part, terms = delta.layers[2], 1 + 3 + 1
    scale = size(expected) + size(part.left) * size(part.right)
    assert_near(merged, expected, rounding(terms, torch.float32), scale)


@given(rank=st.integers(1, 8), own=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_cut_is_the_best_one_and_its_error_is_told(
    tmp_path_factory: pytest.TempPathFactory, rank: int, own: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "a"
    delta = random_delta({4: own}, seed=seed)
    adapter = export_lora(folder, architecture_of("llama"), delta, base="x/y", rank=rank)
    module = "model.layers.4.mlp.down_proj"
    stored = load_file(folder / WEIGHTS)
    down = stored[f"base_model.model.{module}.lora_A.weight"].double()
    up = stored[f"base_model.model.{module}.lora_B.weight"].double()
    dense = delta.layers[4].dense()
    best = torch.linalg.svdvals(dense)[rank:].norm() / dense.norm()
    error = float((up @ down - dense).norm() / dense.norm())
    assert adapter.ranks == {module: min(rank, own)}
    # The factors of the cut are rounded to float32: relative to |B| |A|, which is the sum of the
    # singular values that are kept, and so at most sqrt(rank) times the norm of the whole.
    bound = rounding(1, torch.float32, scale=min(rank, own) ** 0.5)
    assert abs(error - best) <= bound
    assert abs(adapter.errors[module] - error) <= bound


def test_nearly_cancelling_factors_lose_nothing(tmp_path: Path) -> None:
    """Commit and revert side by side: huge factors, a small difference, still right in float32."""
    part = random_delta({0: 3}).layers[0]
    huge = Factored(torch.full((HIDDEN, 1), 1e6).double(), torch.ones(1, INNER).double())
    delta = Delta({0: huge + part - huge})
    export_lora(tmp_path / "a", architecture_of("llama"), delta, base="x/y")
    stored = list(load_file(tmp_path / "a" / WEIGHTS).values())
    down, up = sorted(stored, key=lambda t: t.shape[0] == HIDDEN)
    # The QR of the factors errs in proportion to them (H. 19.4), storing in proportion to the rest.
    terms = huge.left.numel() + huge.right.numel()
    factored = rounding(terms, scale=2 * size(huge.left) * size(huge.right))
    stored = rounding(1, torch.float32, scale=size(part.left) * size(part.right))
    assert_near(up.double() @ down.double(), part.dense(), factored + stored, scale=1.0)


def test_the_config_names_base_and_ranks(tmp_path: Path) -> None:
    delta = random_delta({0: 2, 11: 3})
    adapter = export_lora(
        tmp_path / "a", architecture_of("gpt2"), delta, base="org/model", revision="abc"
    )
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/model", "abc")
    assert config["fan_in_fan_out"] is True
    assert config["r"] == config["lora_alpha"] == adapter.rank == 8
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    assert config["peft_version"] == FORMAT
    assert adapter.ranks == {"transformer.h.0.mlp.c_proj": 2, "transformer.h.11.mlp.c_proj": 3}
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    assert (manifest["format"], manifest["digest"]) == ("lora", adapter.digest)


@given(ranks=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_who_knows_one_alpha_reads_the_delta(
    tmp_path_factory: pytest.TempPathFactory, ranks: list[int], seed: int
) -> None:
    """Scaled by ``lora_alpha`` over the tensor's own rank, as llama.cpp's converter does it."""
    folder = tmp_path_factory.mktemp("one") / "a"
    delta = random_delta(dict(enumerate(ranks)), seed=seed)
    export_lora(folder, architecture_of("llama"), delta, base="x/y")
    alpha = json.loads((folder / CONFIG).read_text())["lora_alpha"]
    stored = load_file(folder / WEIGHTS)
    for layer, part in delta.layers.items():
        module = f"base_model.model.model.layers.{layer}.mlp.down_proj"
        down, up = (stored[f"{module}.lora_{side}.weight"].double() for side in "AB")
        assert down.shape[0] == up.shape[1] == step_for(max(ranks))
        bound = rounding(2, torch.float32, scale=size(part.left) * size(part.right))
        assert_near(alpha / down.shape[0] * up @ down, part.dense(), bound, scale=1.0)


def test_a_rank_is_rounded_up_to_what_servers_reserve() -> None:
    assert [step_for(rank) for rank in (1, 8, 9, 257, 512)] == [8, 8, 16, 320, 512]
    assert step_for(513) == 513, "past the last it is what it is"


def test_what_a_cut_to_the_last_step_would_lose_is_told(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    left = torch.randn(520, 515, generator=generator, dtype=torch.float64)
    delta = Delta({0: Factored(left, torch.eye(515, 516, dtype=torch.float64))})
    architecture = architecture_of("llama")
    whole = export_lora(tmp_path / "a", architecture, delta, base="x/y")
    cut = export_lora(tmp_path / "b", architecture, delta, base="x/y", rank=STEPS[-1])
    assert (whole.rank, cut.rank, cut.excess) == (515, 512, 0.0)
    assert whole.excess == max(cut.errors.values()) > 0


def test_every_name_in_the_config_is_one_of_pefts(tmp_path: Path) -> None:
    from peft import LoraConfig

    export_lora(tmp_path / "a", architecture_of("gpt2"), random_delta({0: 1}), base="x/y")
    written = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert written.keys() <= LoraConfig().to_dict().keys()
    assert LoraConfig.from_pretrained(tmp_path / "a").target_modules == {
        "transformer.h.0.mlp.c_proj"
    }


def test_equal_deltas_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_lora(
            tmp_path / name, architecture_of("gpt2"), random_delta({0: 1, 1: 2}), base="x/y"
        )
    for file in (WEIGHTS, CONFIG, MANIFEST):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_makes_no_adapter_is_refused(tmp_path: Path) -> None:
    architecture = architecture_of("gpt2")
    with pytest.raises(AdapterError, match="no edit"):
        export_lora(tmp_path / "a", architecture, Delta(), base="x/y")
    with pytest.raises(AdapterError, match="rank 1 or more"):
        export_lora(tmp_path / "a", architecture, random_delta({0: 1}), base="x/y", rank=0)
    big = random_delta({0: 1}, scale=1e6)
    with pytest.raises(AdapterError, match="not finite as float16"):
        export_lora(tmp_path / "a", architecture, big, base="x/y", dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").touch()
    with pytest.raises(TargetError):
        export_lora(tmp_path / "a", architecture, random_delta({0: 1}), base="x/y")


def test_an_adapter_that_peft_refuses_is_told(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base("gpt2")
    export_lora(tmp_path / "a", architecture_of("llama"), random_delta({0: 1}), base=str(base))
    with pytest.raises(ReloadError, match="PEFT does not load it"):
        verify_adapter(base, tmp_path / "a", None, PROMPTS)


def test_an_adapter_can_be_read_by_whom_the_umask_lets(make_base: MakeBase, tmp_path: Path) -> None:
    delta = random_delta({0: 1})
    export_lora(tmp_path / "a", architecture_of("gpt2"), delta, base=str(make_base("gpt2")))
    assert len({path.stat().st_mode for path in (tmp_path / "a").iterdir()}) == 1
