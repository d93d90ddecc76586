from __future__ import annotations

import pytest
from benchmark_models import chat_model
from tiny_repos import prepared, repo, work

from editvc.models.language_model import LanguageModel

__all__ = ["prepared", "repo", "work"]


@pytest.fixture(scope="module")
def chat() -> LanguageModel:
    return chat_model()
