"""No code of a model's folder ever runs, and nobody is asked whether it may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import saved

from editvc import Repo
from editvc.interchange.reload_check import verify_reload
from editvc.models.loading import TokenizerError, load
from editvc.models.source import open_model
from editvc.models.weights import parameters_of

MARK = "ran.txt"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose files name code of its own, which leaves a mark where it runs."""
    base = saved(tmp_path / "base")
    code = f"from pathlib import Path\nPath({str(tmp_path / MARK)!r}).touch()\n"
    code += "from transformers import GPT2Config as C, GPT2LMHeadModel as M\n"
    code += "from transformers import PreTrainedTokenizerFast as T\n"
    (base / "custom.py").write_text(code, encoding="utf-8")
    change(
        base / "config.json",
        auto_map={"AutoConfig": "custom.C", "AutoModelForCausalLM": "custom.M"},
    )
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    return base


def change(path: Path, **values: Any) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | values), encoding="utf-8")


def test_a_family_that_transformers_knows_is_read_without_its_code(
    folder: Path, tmp_path: Path
) -> None:
    tokens = folder / "tokenizer_config.json"
    change(tokens, auto_map={"AutoTokenizer": ["custom.T", None]})
    assert load(open_model(str(folder))).depth == 4
    assert parameters_of(folder)
    assert not (tmp_path / MARK).exists()


def test_a_tokenizer_that_is_nothing_but_code_is_refused(folder: Path, tmp_path: Path) -> None:
    tokens = folder / "tokenizer_config.json"
    change(tokens, auto_map={"AutoTokenizer": ["custom.T", None]}, tokenizer_class="NoSuchOne")
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    with pytest.raises(TokenizerError, match="cannot be loaded") as caught:
        Repo.init(tmp_path / "work", str(folder))
    assert caught.value.path == tokens
    assert str(tokens) in caught.value.hint and "never runs" in caught.value.hint
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / MARK).exists()


def test_a_tokenizer_that_is_no_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {"type": "nothing"}}', encoding="utf-8")
    with pytest.raises(TokenizerError, match="cannot be loaded") as caught:
        Repo.init(tmp_path / "work", str(folder))
    assert "fetch them again" in caught.value.hint


def test_an_export_is_loaded_again_without_its_code(folder: Path, tmp_path: Path) -> None:
    edited = load(open_model(str(folder)))
    verify_reload(folder, edited.architecture, [])
    assert not (tmp_path / MARK).exists()
