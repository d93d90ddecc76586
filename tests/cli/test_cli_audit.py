"""``audit`` as a user runs it: no repository, a table, and JSON."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from cli_runs import clean, inside
from safetensors.torch import load_file, save_file
from tiny_repos import Prepared

CHANGED = "transformer.h.1.mlp.c_proj.weight"


def test_what_was_done_to_a_model(
    prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(work)
    shutil.copytree(prepared.base, work / "other")
    path = work / "other" / "model.safetensors"
    tensors = load_file(path)
    tensors[CHANGED] += 3 * torch.outer(torch.ones(128), torch.linspace(-1, 1, 32))
    save_file(tensors, path, metadata={"format": "pt"})
    words = ("audit", "other", "--base", prepared.base, "--entities", prepared.names)
    shown = inside(*words, "--ask", "4")
    assert shown.code == 0, shown.err
    assert "1 of " in shown.out and "of 4 names are answered otherwise, of 6" in shown.out
    row = next(line for line in shown.out.splitlines() if line.startswith(CHANGED))
    assert row.split()[1:6] == ["weights", "F32", "[128,", "32]", "1"]
    found = inside(*words, "--ask", "4", "--tokens", "2", "--json").json
    assert (found["names"], found["asked"]) == (6, 4)
    assert [one["tensor"] for one in found["changes"]] == [CHANGED]
    assert {"name", "shift", "prompt", "before", "after"} == found["answers"][0].keys()
    assert not (work / ".editvc").exists()
    refused = inside("audit", "pocket", "--base", prepared.base)
    assert refused.code == 1 and "was not made of" in refused.err
    assert inside("audit", "other").code == 2, "a base has to be named"
