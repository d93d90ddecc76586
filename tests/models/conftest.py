from __future__ import annotations

from model_fixtures import bos_tokenizer, gpt2, llama, tokenizer

__all__ = ["bos_tokenizer", "gpt2", "llama", "tokenizer"]
