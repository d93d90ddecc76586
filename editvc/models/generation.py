"""What a model goes on with: greedy generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvc.errors import EditvcError
from editvc.models.chat_template import turn_in
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class EmptyPrompt(EditvcError):
    """A prompt without a single token."""


def generate(lm: LanguageModel, prompt: str, max_new_tokens: int = 16) -> str:
    """What the model says after ``prompt``: greedy, without the prompt and special tokens.

    Raises :class:`EmptyPrompt`.
    """
    special = turn_in(lm.tokenizer, prompt) is None
    encoded = lm.tokenizer(prompt, return_tensors="pt", add_special_tokens=special)
    encoded = encoded.to(lm.device)
    length = encoded["input_ids"].shape[1]
    if not length:
        raise EmptyPrompt(
            "the prompt is empty: this model has no token to begin with",
            hint="Ask something.",
        )
    out = lm.model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=_padding(lm.tokenizer),
    )
    text: str = lm.tokenizer.decode(out[0, length:], skip_special_tokens=True)
    return text


def _padding(tokenizer: PreTrainedTokenizerFast) -> int:
    """A token to fill up with: never read, but generation asks for one."""
    for value in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if value is not None:
            return int(value)
    return 0
