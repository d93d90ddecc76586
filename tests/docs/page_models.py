"""Small model folders that pages are about beside the pocket model."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

POCKET = Path(str(resources.files("editvc.pocket"))) / "model"


def unknown_family(folder: Path) -> None:
    """A model of a family that the table of architectures does not have, by its config alone."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64}
    _config(folder, {"model_type": "olmo", "architectures": ["OlmoForCausalLM"]} | sizes | heads)


def quantised(folder: Path) -> None:
    """A model whose config says that its weights are packed."""
    config = json.loads((POCKET / "config.json").read_text("utf-8"))
    _config(folder, config | {"quantization_config": {"quant_method": "awq", "bits": 4}})


def _config(folder: Path, config: dict[str, object]) -> None:
    folder.mkdir()
    for file in POCKET.glob("tokenizer*"):
        shutil.copy(file, folder)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


MODELS = {
    "docs/troubleshooting.md": {"my-olmo": unknown_family, "my-awq": quantised},
}
"""By page, the folders that stand in the place where its blocks run."""


def prepare(page: str, place: Path) -> None:
    """Make the models of a page."""
    for name, make in MODELS.get(page, {}).items():
        make(place / name)
