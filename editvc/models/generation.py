"""What a model goes on with: greedy generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editvc.errors import EditvcError
from editvc.models.chat_template import Turn, turn_in
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TextStreamer


TOKENS_AT_ONCE = 8192
"""Of prompts and answers that :func:`generate_all` has in the model together."""


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


def _empty() -> EmptyPrompt:
    return EmptyPrompt(
        "the prompt is empty: this model has no token to begin with", hint="Ask something."
    )


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
        raise _empty()
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


def generate_all(
    lm: LanguageModel, prompts: Sequence[str], max_new_tokens: Sequence[int]
) -> list[str]:
    """:func:`generate` of many prompts, each with its own bound, and each asked once.

    Prompts of one length in tokens go through the model together, so that none is padded: what
    stands before a text is never quite nothing to a model. In other batches products round
    otherwise, which shows where two tokens are as good as equally likely.
    """
    asked = dict.fromkeys(zip(prompts, max_new_tokens, strict=True))
    groups: dict[tuple[int, int, bool], list[tuple[str, int]]] = {}
    for prompt, bound in asked:
        turn = turn_in(lm.tokenizer, prompt) is not None
        groups.setdefault((prompt_length(lm, prompt), bound, turn), []).append((prompt, bound))
    said: dict[tuple[str, int], str] = {}
    for (length, bound, _), group in groups.items():
        size = max(1, TOKENS_AT_ONCE // (length + bound))
        for start in range(0, len(group), size):
            batch = group[start : start + size]
            texts = _generate_alike(lm, [prompt for prompt, _ in batch], length, bound)
            said.update(zip(batch, texts, strict=True))
    return [said[one] for one in zip(prompts, max_new_tokens, strict=True)]


def _generate_alike(
    lm: LanguageModel, prompts: Sequence[str], length: int, max_new_tokens: int
) -> list[str]:
    """:func:`generate` of prompts that all have ``length`` tokens, and a turn or none."""
    import torch

    if not length:
        raise _empty()
    turn = turn_in(lm.tokenizer, prompts[0])
    ids = lm.tokenizer(list(prompts), add_special_tokens=turn is None)["input_ids"]
    rows = torch.tensor(ids, device=lm.device)
    out = lm.model.generate(
        input_ids=rows,
        attention_mask=torch.ones_like(rows),
        max_new_tokens=min(max_new_tokens, positions_left(lm, length) or max_new_tokens),
        do_sample=False,
        num_beams=1,
        pad_token_id=_padding(lm.tokenizer),
        eos_token_id=_ends(lm, turn),
    )
    ends = set(_ends(lm, turn) or ())
    return [lm.tokenizer.decode(_up_to(row, ends), skip_special_tokens=True)
            for row in out[:, length:].tolist()]  # fmt: skip


def _up_to(row: Sequence[int], ends: set[int]) -> list[int]:
    """The tokens of an answer with the one that ends it: what stands behind is padding."""
    stop = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
    return list(row[:stop])


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
