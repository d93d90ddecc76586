"""A conversation: later turns see the earlier ones, and an answer ends where its turn does."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import tiny_llama
from tiny_models import byte_bpe, lm_of
from tiny_tokenizers import CHATML, chatting

from editvc.models.conversation import Conversation
from editvc.models.generation import PromptTooLong, generate

END = "<|im_end|>"


@pytest.fixture
def lm():
    tokenizer = chatting(byte_bpe(), CHATML)
    return lm_of(tiny_llama(len(tokenizer)), tokenizer)


def always_says(lm, *ids: int) -> None:
    """Make a model give the tokens one after the other, and the last one for ever."""
    left = list(ids)

    def instead(module, args, logits):
        wanted = left.pop(0) if len(left) > 1 else left[0]
        only = torch.full_like(logits, -1.0)
        only[..., wanted] = 1.0
        return only

    lm.model.get_output_embeddings().register_forward_hook(instead)


def asked(text: str, *more: str) -> str:
    return f"<|im_start|>user\n{text}{END}\n<|im_start|>assistant\n" + "".join(more)


def test_an_answer_ends_where_the_turn_does(lm) -> None:
    word = lm.tokenizer("old")["input_ids"][0]
    end = lm.tokenizer.added_tokens_encoder[END]
    always_says(lm, word, end, word)
    assert generate(lm, asked("Who?"), 8) == lm.tokenizer.decode([word])
    always_says(lm, word, end, word)
    plain = lm.tokenizer.decode([word, *[word] * 6])
    assert generate(lm, "Who?", 8) == plain, "plain text has no turn to end"


def test_a_later_turn_sees_the_earlier_ones(lm) -> None:
    chat, heard = Conversation(lm, 4), []
    first = chat.answer("Where is Rome?", heard.append)
    assert "".join(heard) == first == generate(lm, asked("Where is Rome?"), 4)
    second = chat.answer("And London?", lambda text: None)
    text = asked("Where is Rome?", first.strip(), END, "\n", asked("And London?"))
    assert second == generate(lm, text, 4)
    chat.clear()
    assert chat.answer("Where is Rome?", lambda text: None) == first


def test_what_is_plain_or_fails_is_not_remembered(lm) -> None:
    chat = Conversation(lm, 4)
    assert chat.complete("Where is", lambda text: None) == generate(lm, "Where is", 4)
    with pytest.raises(PromptTooLong):
        chat.answer("old town " * 2000, lambda text: None)

    def interrupted(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.answer("Where is Rome?", interrupted)
    assert chat.messages == []
