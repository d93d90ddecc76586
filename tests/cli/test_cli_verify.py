"""``verify`` as a user runs it: words, JSON and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS

SHARD = "model.safetensors"


def test_an_export_and_a_flipped_bit_in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:2]))
    inside("export", "--to", "out")
    fine = inside("verify", "out")
    assert fine.code == 0 and "base and edits explain all of it" in fine.out
    assert inside("verify", "out", "--json").json["explained"]
    data = bytearray((here / "out" / SHARD).read_bytes())
    data[-1] ^= 1
    (here / "out" / SHARD).write_bytes(data)
    found = inside("verify", "out")
    assert found.code == 4 and "weights: tensor " in found.out and "1 bit of number" in found.out
    told = inside("verify", "out", "--json")
    assert told.code == 4
    assert [one["kind"] for one in json.loads(told.out)["findings"]] == ["weights", "ledger"]
    monkeypatch.chdir(here.parent)
    away = inside("verify", "here/out")
    assert away.code == 4 and "not proven: that the base and the listed edits" in away.out
    assert "weights: tensor " in inside("verify", "here/out", "--repo", "here").out
    assert inside("verify", "here/out", "--at", "HEAD").code == 1, "a revision of what?"
    assert inside("verify", "nowhere/at/all").code == 1
