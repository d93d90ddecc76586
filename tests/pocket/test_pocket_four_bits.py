"""An adapter on a base in 4 bits: what it is said to hold there, and that the base is in 4 bits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from editvc import EditvcError, Repo
from editvc.cli.main import editvc as command
from editvc.evaluation.scores import outcomes
from editvc.interchange import reload_check
from editvc.models.weights import edited
from editvc.porcelain import quantized_base
from editvc.porcelain.export_result import Held

pytest.importorskip("bitsandbytes")
EDITS = Path(__file__).resolve().parents[2] / "examples" / "pocket" / "edits.jsonl"
RECORDS = [json.loads(line) for line in EDITS.read_text("utf-8").splitlines()[:8]]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    with closing(Repo.init(tmp_path_factory.mktemp("four") / "repo", "pocket", later=True)) as repo:
        repo.commit(RECORDS, recipe=repo.choose("memit").recipe)
        yield repo


def rounded(lm: Any, kind: str) -> None:
    """Let every linear module but the head have the weight that 4 bits leave of it."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    for module in lm.body.modules():
        if isinstance(module, torch.nn.Linear):
            packed, state = quantize_4bit(module.weight.data, quant_type=kind)
            module.weight.data = dequantize_4bit(packed, state)


@pytest.mark.parametrize("kind", reload_check.FOUR_BITS)
def test_it_holds_what_the_base_with_rounded_weights_and_the_edits_holds(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen = []

    def noting(lm: Any, *more: Any) -> Any:
        module = lm.down_proj(lm.depth - 1)
        seen.append(type(getattr(module, "base_layer", module)).__name__)
        return outcomes(lm, *more)

    monkeypatch.setattr(quantized_base, "outcomes", noting)
    done = repo.export(tmp_path / "adapter", format="lora", measure_on=kind)
    assert seen == ["Linear", "Linear4bit"]
    assert done.held == (expected(repo, "float32"), four := expected(repo, kind))
    assert four.said > 4 and four.kept > 20
    assert done.checks[-1] == four.line and done.to_json()["held"][1]["said"] == four.said


def expected(repo: Repo, kind: str) -> Held:
    """By the edits on top of rounded weights, no adapter and no module of bitsandbytes at work."""
    maker, facts = repo.session.materialiser, repo.live()
    lm = reload_check.reloaded(maker.folder, maker.architecture)
    with torch.no_grad():
        if kind != "float32":
            rounded(lm, kind)
        before = quantized_base.locality_answers(lm, facts)
        with edited(lm, repo.materialise()):
            rows = outcomes(lm, facts, before)
    said = [one for row in rows for one in row["eff"]]
    kept = [one for row in rows for one in row["spe"]]
    return Held(kind, sum(said), len(said), sum(kept), len(kept))


def test_where_bitsandbytes_is_missing_that_is_said_before_any_work(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_check, "find_spec", lambda name: None)
    with pytest.raises(reload_check.MissingBitsAndBytes, match="accelerate and bitsandbytes"):
        repo.export(tmp_path / "adapter", format="lora", measure_on="nf4")
    assert not (tmp_path / "adapter").exists()


def test_only_adapters_are_measured(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(EditvcError, match="only an adapter is measured"):
        repo.export(tmp_path / "whole", measure_on="nf4")
    ran = CliRunner().invoke(command, ["export", "--to", "x", "--measure-on", "nf4"])
    assert ran.exit_code == 2 and "--measure-on goes with --format lora" in ran.output
