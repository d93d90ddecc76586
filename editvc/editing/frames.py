"""The ways of asking for a fact that its value is searched in, all made from its own prompt.

A value that is found for one wording is often one for that wording: the model says the new object
where the old sentence leads to it. So it is searched for in the prompt in some contexts, in the
prompt without the function words that it ends with, as a question, behind the words that the
prompt says something of ("The capital of France is"), and, of a chat model, as a user's turn, where
the answer ends as the model's answers end. Nothing here knows a relation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from editvc.core.facts import PLACEHOLDER, Request
from editvc.editing.closing_marks import before_marks
from editvc.editing.edit_batches import TokenizedEdit
from editvc.models.chat_template import optional_turn, turn_in
from editvc.models.tokenization import TokenizedPrompt, first_place, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FUNCTION_WORDS = frozenset(
    """
    a an the of in on at by to is are was were be been as for from with and or that which who whom
    whose it its they their he she his her this has have had does do did can could called named what
    where when how part
    """.split()  # noqa: SIM905
)

ABOUT = ("The {word} of {} is", "{}'s {word} is", "{}, {word}:")
"""How a word that a prompt says something of stands before an answer."""

WORDS = 2
"""How many of a prompt's content words are asked for: the last ones."""

_MARKS = ",'?.!:;\""


def question_of(prompt: str) -> str:
    """The question that a prompt holds, else one made of it: "The capital of {} is what?"."""
    before, mark, _ = prompt.partition("?")
    return before + mark if mark else f"{prompt.rstrip(' ,:')} what?"


def shortened(prompt: str) -> str | None:
    """The prompt without the function words at its end; None where there are none to leave out."""
    before, behind = prompt.split(PLACEHOLDER, 1)
    words = behind.rstrip(" ,").split(" ")
    kept = list(words)
    while kept and kept[-1].strip(_MARKS).casefold() in FUNCTION_WORDS:
        kept.pop()
    return None if len(kept) == len(words) else before + PLACEHOLDER + " ".join(kept)


def content_words(prompt: str) -> list[str]:
    """The words of a prompt that say what it is about, in their order, each once."""
    words = (
        word.strip(_MARKS).removesuffix("'s") for word in prompt.replace(PLACEHOLDER, " ").split()
    )
    long = (word for word in words if word.isalpha() and len(word) > 2)
    return list(dict.fromkeys(word for word in long if word.casefold() not in FUNCTION_WORDS))


def asked_otherwise(tokenizer: PreTrainedTokenizerFast, request: Request) -> list[Request]:
    """The other ways of asking for a fact; none for a prompt that is a turn of the chat already."""
    if turn_in(tokenizer, request.question) is not None:
        return []
    prompt, question = request.prompt, question_of(request.prompt)
    prompts = [question]
    if (short := shortened(prompt)) is not None:
        prompts += [short, f"I think that {short}"]
    prompts += [
        about.replace("{word}", word) for word in content_words(prompt)[-WORDS:] for about in ABOUT
    ]
    others = [replace(request, prompt=other) for other in prompts]
    turn = optional_turn(tokenizer)
    if turn is not None:
        asked = turn.around(question)
        others.append(replace(request, prompt=asked, target=request.target.strip() + turn.end))
        others.append(replace(request, prompt=f"{asked}{turn.lead or ''}{_restated(request)}"))
    return others


def _restated(request: Request) -> str:
    """How an answer in a chat may begin: with the prompt, or with what is behind its question.

    The subject is spelt out: what is edited is its place in the question.
    """
    _, mark, behind = request.prompt.partition("?")
    begun = behind.strip() if mark else request.question
    return begun[:1].upper() + begun[1:] if begun else "The answer is"


@dataclass(frozen=True, slots=True)
class Frames:
    """One request in tokens, in all ways of asking for it.

    ``behind`` has the rows in which its subject stands behind other tokens, all of them where it
    does in none; ``at_first`` those in which it is the first token of the text
    (:mod:`editvc.editing.first_token`), ``None`` where there are none.
    """

    behind: TokenizedEdit
    at_first: TokenizedEdit | None


def tokenize_frames(
    tokenizer: PreTrainedTokenizerFast,
    requests: Sequence[Request],
    contexts: Sequence[str],
    held_contexts: Sequence[str],
) -> list[Frames]:
    """All requests in tokens: each in all contexts, then asked otherwise.

    Held is what follows the subject in ``held_contexts``, which it begins in the rows ``at_first``.
    """
    front = first_place(tokenizer)
    framed = []
    for request in requests:
        (plain,) = tokenize(tokenizer, [before_marks(request)], contexts)
        others = map(before_marks, asked_otherwise(tokenizer, request))
        rows = [*plain, *(row for (row,) in tokenize(tokenizer, list(others)))]
        behind = [row for row in rows if row.subject >= front] or rows
        at_first = [row for row in rows if row.subject < front]
        begun = [context[context.index(PLACEHOLDER) :] for context in held_contexts]
        framed.append(
            Frames(
                TokenizedEdit(tuple(behind), _held(tokenizer, request, held_contexts)),
                TokenizedEdit(tuple(at_first), _held(tokenizer, request, begun))
                if at_first
                else None,
            )
        )
    return framed


def joined(same: Sequence[Frames]) -> Frames:
    """The ways of asking for several facts of one subject, which all hold the same texts."""
    begun = [one.at_first for one in same if one.at_first is not None]
    return Frames(_joined([one.behind for one in same]), _joined(begun) if begun else None)


def _joined(same: Sequence[TokenizedEdit]) -> TokenizedEdit:
    return TokenizedEdit(tuple(row for one in same for row in one.rows), same[0].held)


def _held(
    tokenizer: PreTrainedTokenizerFast, request: Request, contexts: Sequence[str]
) -> tuple[TokenizedPrompt, ...]:
    """The contexts around the subject, in tokens, with no target behind them."""
    mentions = [before_marks(replace(request, prompt=context)) for context in contexts]
    return tuple(
        replace(row, ids=row.ids[: row.target]) for (row,) in tokenize(tokenizer, mentions)
    )
