"""Tiny bases on disk, built once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_server import hub
from publish_models import tiny_model
from tiny_models import byte_bpe

__all__ = ["hub", "make_base"]


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A saved tiny model: ``make_base(family, dtype, shard)``; built once per combination."""
    made: dict[tuple[str, torch.dtype, str], Path] = {}
    tokenizer = byte_bpe()

    def make(family: str, dtype: torch.dtype = torch.float32, shard: str = "1GB") -> Path:
        key = (family, dtype, shard)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{family}-base")
            model = tiny_model(family, len(tokenizer)).to(dtype)
            model.save_pretrained(folder, max_shard_size=shard)
            tokenizer.save_pretrained(folder)
            (folder / "README.md").write_text("---\nlicense: mit\nlanguage: en\n---\n# Base\n")
            (folder / "LICENSE").write_text("the licence\n")
            (folder / "chat_template.jinja").write_text("{{ messages }}")
            made[key] = folder
        return made[key]

    return make
