"""llama.cpp for tests, which are skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from llama_runtime import completions


def said_by_llama_cpp(
    model: Path, prompts: Sequence[str], tokens: int, adapter: Path | None = None
) -> list[str]:
    """Greedy completions by a GGUF file, with an adapter where one is given."""
    pytest.importorskip("xllamacpp")
    return completions(model, prompts, tokens, adapter)
