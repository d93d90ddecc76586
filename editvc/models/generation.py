"""What a model goes on with: greedy generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvc.errors import EditvcError
from editvc.models.chat_template import Turn, turn_in
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TextStreamer


class EmptyPrompt(EditvcError):
    """A prompt without a single token."""


class PromptTooLong(EditvcError):
    """A prompt of more ``tokens`` than the model has positions."""

    def __init__(self, tokens: int, positions: int) -> None:
        super().__init__(
            f"the prompt has {tokens} tokens, and the model has positions for {positions}",
            hint="Ask something shorter.",
        )
        self.tokens = tokens


def prompt_length(lm: LanguageModel, prompt: str) -> int:
    """How many tokens a prompt has. Raises :class:`PromptTooLong`."""
    special = turn_in(lm.tokenizer, prompt) is None
    length = len(lm.tokenizer(prompt, add_special_tokens=special, verbose=False)["input_ids"])
    if lm.positions is not None and length > lm.positions:
        raise PromptTooLong(length, lm.positions)
    return length


def generate(
    lm: LanguageModel,
    prompt: str,
    max_new_tokens: int = 16,
    streamer: TextStreamer | None = None,
) -> str:
    """What the model says after ``prompt``: greedy, without the prompt and special tokens.

    It ends where the model's positions do, and where its turn does in a chat; a ``streamer`` gets
    the text as it comes. Raises :class:`EmptyPrompt`, :class:`PromptTooLong`.
    """
    turn = turn_in(lm.tokenizer, prompt)
    special = turn is None
    length = prompt_length(lm, prompt)
    encoded = lm.tokenizer(prompt, return_tensors="pt", add_special_tokens=special)
    encoded = encoded.to(lm.device)
    if not length:
        raise EmptyPrompt(
            "the prompt is empty: this model has no token to begin with",
            hint="Ask something.",
        )
    out = lm.model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=min(max_new_tokens, positions_left(lm, length) or max_new_tokens),
        do_sample=False,
        num_beams=1,
        pad_token_id=_padding(lm.tokenizer),
        eos_token_id=_ends(lm, turn),
        streamer=streamer,
    )
    text: str = lm.tokenizer.decode(out[0, length:], skip_special_tokens=True)
    return text


def positions_left(lm: LanguageModel, length: int) -> int | None:
    """How many tokens may follow ``length`` of them; the last one needs no position."""
    return None if lm.positions is None else lm.positions - length + 1


def _ends(lm: LanguageModel, turn: Turn | None) -> list[int] | None:
    """The tokens that end an answer: the model's own, and the one that ends its turn in a chat.

    Configurations of chat models often name the end of a text alone. A template without one token
    for the end of a turn adds nothing.
    """
    own = lm.model.generation_config.eos_token_id
    ends = set([] if own is None else [own] if isinstance(own, int) else own)
    if turn is not None and turn.end in lm.tokenizer.added_tokens_encoder:
        ends.add(lm.tokenizer.added_tokens_encoder[turn.end])
    return sorted(ends) or None


def _padding(tokenizer: PreTrainedTokenizerFast) -> int:
    """A token to fill up with: never read, but generation asks for one."""
    for value in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if value is not None:
            return int(value)
    return 0
