from __future__ import annotations

from model_fixtures import bos_tokenizer, gpt2, llama, tokenizer
from publish_models import make_base

__all__ = ["bos_tokenizer", "gpt2", "llama", "make_base", "tokenizer"]
