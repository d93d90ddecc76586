"""An adapter of the embedded model is of use on another machine: its README says how."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from peft import AutoPeftModelForCausalLM

import editvc
from editvc.cli.main import editvc as command
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel

FACT = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Rome"}
QUESTION = "The capital of France is"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_readme_of_an_adapter_leads_to_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = editvc.Repo.init(tmp_path / "mine", "pocket")
    repo.commit([FACT])
    done = repo.export(tmp_path / "adapter", format="lora")
    assert any("editvc export base --to pocket" in note for note in done.notes)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "pocket"
    readme = (tmp_path / "adapter" / "README.md").read_text("utf-8")
    shell, python = re.findall(r"```(?:sh|python)\n(.*?)```", readme, flags=re.DOTALL)

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for line in shell.splitlines():
        name, *words = line.split()
        assert name == "editvc"
        command.main(words, standalone_mode=False)
    scope: dict[str, Any] = {}
    exec(python.replace("path/or/id/of/this/adapter", "../adapter"), scope)
    assert generate(LanguageModel.of(scope["model"], scope["tokenizer"]), QUESTION, 4).startswith(
        " Rome"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        auto = AutoPeftModelForCausalLM.from_pretrained("../adapter")
    assert generate(LanguageModel.of(auto, scope["tokenizer"]), QUESTION, 4).startswith(" Rome")
