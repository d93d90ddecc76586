"""The ways of asking for a fact that its value is searched in, all made from its own prompt.

The prompt itself in the recipe's contexts; as a question with an answer to come; and, of a chat
model, as a user's turn, where the answer ends as the model's answers end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from editvc.core.facts import Request
from editvc.editing.edit_batches import TokenizedEdit, tokenize_edits
from editvc.models.chat_template import ChatTemplateError, Turn, turn_in, turn_of
from editvc.models.tokenization import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ANSWERED = ("Question: {question}\nAnswer:", "{question} The answer is")
"""How a question stands before its answer in running text."""


def question_of(prompt: str) -> str:
    """The question that a prompt holds, else one made of it: "The capital of {} is what?"."""
    before, mark, _ = prompt.partition("?")
    return before + mark if mark else f"{prompt.rstrip(' ,:')} what?"


def asked_otherwise(tokenizer: PreTrainedTokenizerFast, request: Request) -> list[Request]:
    """The other ways of asking for a fact, as many for every fact of one model."""
    question = question_of(request.prompt)
    texts = [answered.replace("{question}", question) for answered in ANSWERED]
    others = [replace(request, prompt=text) for text in texts]
    turn = _turn(tokenizer)
    if turn is not None:
        target = request.target.strip() + turn.end
        others += [
            replace(request, prompt=turn.around(words), target=target)
            for words in (question, request.prompt)
        ]
    return others


def tokenize_frames(
    tokenizer: PreTrainedTokenizerFast, requests: Sequence[Request], contexts: Sequence[str]
) -> list[TokenizedEdit]:
    """All requests in tokens: each in all contexts, then asked otherwise.

    A request whose prompt is a turn of the chat template already is asked as it is, in contexts.
    """
    edits = tokenize_edits(tokenizer, requests, contexts)
    framed = []
    for request, edit in zip(requests, edits, strict=True):
        if turn_in(tokenizer, request.question) is not None:
            others = [request] * len(asked_otherwise(tokenizer, request))
        else:
            others = asked_otherwise(tokenizer, request)
        rows = [row for (row,) in tokenize(tokenizer, others)]
        framed.append(replace(edit, rows=(*edit.rows, *rows)))
    return framed


def _turn(tokenizer: PreTrainedTokenizerFast) -> Turn | None:
    try:
        return turn_of(tokenizer)
    except ChatTemplateError:
        return None
