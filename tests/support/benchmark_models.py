"""A tiny random chat model that says words, for tests of the benchmarks."""

from __future__ import annotations

from tiny_models import byte_bpe, lm_of, speak_words, tiny_llama
from tiny_tokenizers import CHATML, chatting

from editvc.models.language_model import LanguageModel


def chat_model() -> LanguageModel:
    """The same one at each call."""
    tokenizer = chatting(byte_bpe(), CHATML)
    model = tiny_llama(len(tokenizer))
    speak_words(model, tokenizer)
    return lm_of(model, tokenizer)
