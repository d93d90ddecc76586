"""From a fact to tokens: where the subject ends, where the target begins.

Positions come from the fast tokenizer's ``offset_mapping`` on the whole text, never from counting
the tokens of its parts. Two rules decide everything:

- The subject's last token is the last token that covers the subject's last character. A character
  of several bytes may be spread over several tokens: the last of them. An accent that the tokenizer
  joins to its letter is covered by the letter's token.
- The target's tokens begin with the first that covers a character after the prompt, the joining
  space included: what a generation has to say. Where the tokenizer merges across the boundary, the
  merged token is the target's.

Space policy: prompt and target are joined by one space, unless the prompt ends or the target
begins with white space, or both sides of the boundary are written in a script without spaces
between words (Han, kana, Thai, Lao, Khmer, Burmese), their full-width punctuation included.
Special tokens: whatever the tokenizer puts in front by itself (a BOS) stays, what it appends (an
EOS) is dropped.

A prompt that is a whole turn of the tokenizer's chat template (:mod:`.chat`) brings its special
tokens with it, so the tokenizer adds none; the template says what stands before an answer; and a
context stands inside the turn, before the user's words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from editvc.core.cut import quoted
from editvc.core.facts import PLACEHOLDER, Request
from editvc.errors import EditvcError
from editvc.models.chat_template import turn_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Encoding = tuple[tuple[int, ...], list[tuple[int, int]]]
"""Token ids, and the characters (start, end) that each of them covers."""

_UNSPACED = (
    "CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC", "FULLWIDTH",
)  # fmt: skip


class TracingError(EditvcError):
    """A request whose tokens cannot be told apart. ``subject`` names the request."""

    def __init__(self, subject: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{quoted(subject)}: {problem}", hint=hint)
        self.subject = subject


class SubjectNotInPromptError(TracingError):
    """The prompt has no place for the subject."""


class EmptyTargetError(TracingError):
    """The target gives no token of its own."""


class MergedBoundaryError(TracingError):
    """The target's first token is the subject's last one: there is nothing between to edit."""


class SlowTokenizerError(EditvcError):
    """The tokenizer cannot tell which characters a token covers."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """A request's text, and where in it: contexts go, subject and question end, the target begins.

    ``special`` tells whether the tokenizer adds its special tokens.
    """

    text: str
    inset: int
    subject_end: int
    question_end: int
    target_at: int
    special: bool


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """The tokens of one text: ``ids[:target]`` is the prompt, ``ids[target:]`` the target.

    ``subject`` is the index of the subject's last token.
    """

    ids: tuple[int, ...]
    subject: int
    target: int


def require_offsets(tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise :class:`SlowTokenizerError` unless the tokenizer has ``offset_mapping``."""
    if not getattr(tokenizer, "is_fast", False):
        raise SlowTokenizerError(
            f"{type(tokenizer).__name__} has no offset mapping (it is a slow tokenizer)",
            hint="Use a model folder with a tokenizer.json; save one with "
            "AutoTokenizer.from_pretrained(..., use_fast=True).save_pretrained(...).",
        )


def joined(question: str, target: str) -> tuple[str, int]:
    """Question and target as one text by the space policy, and where the target's words begin."""
    body = target.lstrip()
    lead = target[: len(target) - len(body)]
    if not lead and not _touching(question, body):
        lead = " "
    return question + lead + body, len(question) + len(lead)


def _touching(question: str, target: str) -> bool:
    if not question or not target:
        return True
    left, right = question[-1], target[0]
    return left.isspace() or (_unspaced(left) and _unspaced(right))


def _unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_UNSPACED)


def tokenize(
    tokenizer: PreTrainedTokenizerFast,
    requests: Sequence[Request],
    contexts: Sequence[str] = (PLACEHOLDER,),
) -> list[list[TokenizedPrompt]]:
    """Tokens of every request in every context, ``[request][context]``.

    Raises :class:`SubjectNotInPromptError`, :class:`EmptyTargetError`,
    :class:`MergedBoundaryError` and :class:`SlowTokenizerError`.
    """
    require_offsets(tokenizer)
    layouts: list[_Layout] = []
    for request in requests:
        layout = _layout(tokenizer, request)
        layouts += [_within(layout, context, request) for context in contexts]
    if not layouts:
        return []
    encoded = _encode(tokenizer, [(one.text, one.special) for one in layouts])
    width = len(contexts)
    rows = [
        _place(ids, spans, requests[place // width], layout)
        for place, ((ids, spans), layout) in enumerate(zip(encoded, layouts, strict=True))
    ]
    return [rows[start : start + width] for start in range(0, len(rows), width)]


def filled(context: str, name: str) -> tuple[str, int]:
    """A context with a name in the place of its {}, and where the name ends there."""
    return context.replace(PLACEHOLDER, name), context.index(PLACEHOLDER) + len(name)


def subject_tokens(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[str, int]]
) -> list[TokenizedPrompt]:
    """Tokens of texts up to the one that covers the character before ``end``, for ``(text, end)``.

    ``subject`` is that token, ``target`` the length: nothing follows it.
    """
    require_offsets(tokenizer)
    if not texts:
        return []
    rows = []
    for (ids, spans), (text, end) in zip(
        _encode(tokenizer, [(text, True) for text, _ in texts]), texts, strict=True
    ):
        last = _covering_last(spans, 0, _last_character(text, end) + 1)
        if last is None:
            raise SubjectNotInPromptError(text, "its last character is in no token")
        rows.append(TokenizedPrompt(ids[: last + 1], last, last + 1))
    return rows


def subject_span(tokenizer: PreTrainedTokenizerFast, request: Request) -> range:
    """The tokens of a request that cover its subject, of the ids that :func:`tokenize` gives.

    Raises what :func:`tokenize` raises.
    """
    ((tokenized,),) = tokenize(tokenizer, [request])
    layout = _layout(tokenizer, request)
    ((_, spans),) = _encode(tokenizer, [(layout.text, layout.special)])
    lead = len(request.subject) - len(request.subject.lstrip())
    begin = request.prompt.index(PLACEHOLDER) + lead
    first = next(index for index, (_, end) in enumerate(spans) if end > begin)
    return range(first, tokenized.subject + 1)


def leading_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The special tokens that the tokenizer puts in front of every text by itself."""
    ((ids, spans),) = _encode(tokenizer, [("a", True)])
    first = next(i for i, (start, end) in enumerate(spans) if start < end)
    return ids[:first]


def first_place(tokenizer: PreTrainedTokenizerFast) -> int:
    """The first place in a text where a token is like others: behind a BOS, or the first token."""
    return max(1, len(leading_tokens(tokenizer)))


def marked_tokens(
    tokenizer: PreTrainedTokenizerFast, tokenized: TokenizedPrompt
) -> list[tuple[str, bool, bool]]:
    """``(token text, is the subject's last, is the target's)`` of each token, for people."""
    return [
        (tokenizer.decode([token]), index == tokenized.subject, index >= tokenized.target)
        for index, token in enumerate(tokenized.ids)
    ]


def _layout(tokenizer: PreTrainedTokenizerFast, request: Request) -> _Layout:
    if PLACEHOLDER not in request.prompt:
        raise SubjectNotInPromptError(
            request.subject,
            f"no {PLACEHOLDER} in the prompt {quoted(request.prompt)}",
            hint='Write {} where the subject stands, like "The capital of {} is".',
        )
    if not request.target.strip():
        raise EmptyTargetError(request.subject, "the target is empty")
    question, target = request.question, request.target
    turn = turn_in(tokenizer, question)
    if turn is None or turn.lead is None or target[:1].isspace():
        text, target_at = joined(question, target)
    else:
        text, target_at = question + turn.lead + target, len(question) + len(turn.lead)
    return _Layout(
        text,
        inset=len(turn.before) if turn is not None else 0,
        subject_end=request.prompt.index(PLACEHOLDER) + len(request.subject.rstrip()),
        question_end=len(question),
        target_at=target_at,
        special=turn is None,
    )


def _within(layout: _Layout, context: str, request: Request) -> _Layout:
    """The layout with the words of a context before the user's."""
    before, after = context.split(PLACEHOLDER, 1)
    if after:
        raise TracingError(request.subject, f"text after the prompt in context {quoted(context)}")
    return replace(
        layout,
        text=layout.text[: layout.inset] + before + layout.text[layout.inset :],
        subject_end=layout.subject_end + len(before),
        question_end=layout.question_end + len(before),
        target_at=layout.target_at + len(before),
    )


def _encode(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[str, bool]]
) -> list[Encoding]:
    """Ids and character spans of every text, without what the tokenizer appends at the end.

    Each text comes with whether the tokenizer adds its special tokens to it.
    """
    encoded: dict[int, Encoding] = {}
    for special in (True, False):
        places = [place for place, (_, with_special) in enumerate(texts) if with_special is special]
        tokens = _encode_alike(tokenizer, [texts[place][0] for place in places], special)
        encoded.update(zip(places, tokens, strict=True))
    return [encoded[place] for place in range(len(texts))]


def _encode_alike(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], special: bool
) -> list[Encoding]:
    if not texts:
        return []
    encoded = tokenizer(
        texts, return_offsets_mapping=True, return_special_tokens_mask=True, padding=False,
        add_special_tokens=special,
    )  # fmt: skip
    tokens = []
    for ids, spans, added in zip(
        encoded["input_ids"],
        encoded["offset_mapping"],
        encoded["special_tokens_mask"],
        strict=True,
    ):
        end = len(ids)
        while end and added[end - 1] and spans[end - 1][0] == spans[end - 1][1]:
            end -= 1
        tokens.append((tuple(ids[:end]), [tuple(span) for span in spans[:end]]))
    return tokens


def _last_character(text: str, end: int) -> int:
    """Index of the last character before ``end`` that is no white space."""
    return len(text[:end].rstrip()) - 1


def _covering(spans: Sequence[tuple[int, int]], character: int) -> int | None:
    covering = [i for i, (start, end) in enumerate(spans) if start <= character < end]
    return covering[-1] if covering else None


def _covering_last(spans: Sequence[tuple[int, int]], start: int, end: int) -> int | None:
    """The last token of the last character in ``text[start:end]`` that is in any token.

    An accent that the tokenizer writes together with its letter is in none itself.
    """
    covering = (_covering(spans, character) for character in range(end - 1, start - 1, -1))
    return next((token for token in covering if token is not None), None)


def _place(
    ids: tuple[int, ...],
    spans: list[tuple[int, int]],
    request: Request,
    layout: _Layout,
) -> TokenizedPrompt:
    if not spans or spans[-1][1] <= layout.target_at:
        raise EmptyTargetError(
            request.subject,
            f"the target {quoted(request.target)} gives no token",
            hint="The tokenizer drops these characters; write the target in others.",
        )
    target = next(i for i, (_, end) in enumerate(spans) if end > layout.question_end)
    subject_start = layout.subject_end - len(request.subject.strip())
    last = _covering_last(spans, subject_start, layout.subject_end)
    if last is None:
        raise SubjectNotInPromptError(request.subject, "its last character is in no token")
    if last >= target:
        raise MergedBoundaryError(
            request.subject,
            f"the tokenizer merges the subject with the target {quoted(request.target)}",
            hint="Put words between the subject and the target.",
        )
    return TokenizedPrompt(ids, last, target)
