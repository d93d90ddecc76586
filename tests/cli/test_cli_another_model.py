"""Another model in the place of the base: refused at once, by every verb that needs its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import loaded_after
from tiny_repos import Prepared

WEIGHTS = (
    "ask x", "eval", "commit facts.jsonl", "commit facts.jsonl --dry-run", "export --to out",
    "trace facts.jsonl", "tune facts.jsonl", "stats compute", "publish someone/model", "base",
)  # fmt: skip
"""Verbs that need the base's weights, each with a line to try."""


@pytest.mark.parametrize("words", WEIGHTS)
def test_another_model_is_refused_before_tensors_are_imported(
    words: str, prepared: Prepared, tmp_path: Path
) -> None:
    shutil.copytree(prepared.base, tmp_path / "base")
    shutil.copytree(prepared.work / ".editvc", tmp_path / ".editvc")
    settings = tmp_path / ".editvc" / "config.toml"
    text = settings.read_text(encoding="utf-8").replace(str(prepared.base), "base")
    settings.write_text(text, encoding="utf-8")
    good = '{"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}'
    (tmp_path / "facts.jsonl").write_text(good, encoding="utf-8")
    weights = tmp_path / "base" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        f"sys.argv = ['editvc', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 1, end.code"
    )
    assert not loaded_after(code, tmp_path) & {"torch", "transformers", "huggingface_hub"}
