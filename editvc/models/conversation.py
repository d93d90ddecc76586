"""A conversation with a model: turns of its chat template, each answered as it is generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from transformers import TextStreamer

from editvc.models.chat_template import conversation, optional_turn
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Hears = Callable[[str], None]
"""Called with each piece of an answer, as it comes."""


class Conversation:
    """What a user and a model said to each other so far. Answers are greedy.

    The model is used as it is; whoever holds it sees to its weights.
    """

    def __init__(self, lm: LanguageModel, max_new_tokens: int) -> None:
        self.lm = lm
        self.max_new_tokens = max_new_tokens
        self.messages: list[dict[str, str]] = []

    @property
    def templated(self) -> bool:
        """Whether the model has a chat template to converse in."""
        return optional_turn(self.lm.tokenizer) is not None

    def answer(self, words: str, hears: Hears) -> str:
        """What the model answers to the next turn of the user.

        Both are remembered when the answer is whole: one that fails or is interrupted leaves the
        conversation as it was. Raises ``ChatTemplateError``, and what ``generate`` raises.
        """
        asked = [*self.messages, {"role": "user", "content": words}]
        text = self.complete(conversation(self.lm.tokenizer, asked), hears)
        self.messages = [*asked, {"role": "assistant", "content": text.strip()}]
        return text

    def complete(self, prompt: str, hears: Hears) -> str:
        """How the model goes on after a plain text; nothing of it is remembered.

        Raises what ``generate`` raises.
        """
        streamer = _streamer(self.lm.tokenizer, hears)
        return generate(self.lm, prompt, self.max_new_tokens, streamer)

    def clear(self) -> None:
        """Begin anew."""
        self.messages = []


def _streamer(tokenizer: PreTrainedTokenizerFast, hears: Hears) -> TextStreamer:
    """Hands on the text of an answer, word by word, without the prompt and special tokens."""
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    streamer.on_finalized_text = lambda text, stream_end=False: hears(text)
    return streamer
