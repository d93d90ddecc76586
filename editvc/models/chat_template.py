"""A chat model's template: the text around a user's words, up to where the model answers.

A fact that is asked in a chat holds that text in its prompt, so it is a fact like any other, and
the numbers it gets depend on nothing but what was committed. Its tokens are those that
``apply_chat_template`` gives: such a text brings its own special tokens, and the tokenizer adds
none (no second BOS).

Templates that write today's date are rendered for one fixed day, and those that let the model
think first are asked not to: else a fact would be another one every day, and its target would not
stand where the answer does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from editvc.core.facts import PLACEHOLDER, Fact
from editvc.errors import EditvcError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WORDS, _ANSWER = "What7is9asked", "What7is9answered"
_DAY = {"%d": "26", "%-d": "26", "%m": "07", "%b": "Jul", "%B": "July", "%Y": "2024", "%y": "24"}
_CALENDAR = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{code}', '{text}')" for code, text in _DAY.items())
    + " }}{%- endmacro -%}"
)
"""In front of a template, it hides the function that tells the date."""


class ChatTemplateError(EditvcError):
    """The tokenizer has no chat template, or one that a fact cannot be put in."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"no chat template to ask with: {problem}",
            hint="Go on without --chat-template, or write the whole turn into the prompt.",
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """The text ``before`` and ``after`` the user's words, up to where the model answers.

    ``lead`` is what the template writes between ``after`` and an answer, ``None`` where it does
    not tell; ``end`` is what it writes behind one, as far as it is no white space.
    """

    before: str
    after: str
    lead: str | None
    end: str = ""

    def around(self, words: str) -> str:
        """What a model reads when a user says ``words``."""
        return self.before + words + self.after

    def holds(self, text: str) -> bool:
        """Whether ``text`` is such a turn."""
        return (
            len(text) > len(self.before) + len(self.after) > 0
            and text.startswith(self.before)
            and text.endswith(self.after)
        )

    def asking(self, fact: Fact) -> Fact:
        """The fact with its prompts inside the turn; it has a slot of its own."""
        return replace(
            fact,
            prompt=self.around(fact.prompt),
            relation=None if fact.relation is None else f"{fact.relation} (chat)",
            paraphrases=tuple(map(self.around, fact.paraphrases)),
            locality=tuple(map(self.around, fact.locality)),
            hops=tuple(map(self.around, fact.hops)),
        )


def turn_of(tokenizer: PreTrainedTokenizerFast) -> Turn:
    """A user's turn in the tokenizer's chat template, no system message given.

    Raises :class:`ChatTemplateError` where there is no template, where it fails, and where it does
    not repeat the user's words once and as they are.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        raise ChatTemplateError("the tokenizer has none")
    user = {"role": "user", "content": _WORDS}
    question = _rendered(tokenizer, [user], add_generation_prompt=True)
    if question.count(_WORDS) != 1:
        raise ChatTemplateError("it does not write the user's words once, as they are")
    before, after = question.split(_WORDS)
    if not before and not after:
        raise ChatTemplateError("it writes nothing around the user's words")
    if PLACEHOLDER in before + after:
        raise ChatTemplateError(f"its own text holds {PLACEHOLDER}, the place of the subject")
    return Turn(before, after, *_around_answer(tokenizer, user, question))


def conversation(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]]) -> str:
    """What a model reads of a whole chat, up to where it answers.

    ``messages`` have a ``role``, user or assistant, and a ``content``. Raises
    :class:`ChatTemplateError`.
    """
    return _rendered(tokenizer, messages, add_generation_prompt=True)


def optional_turn(tokenizer: PreTrainedTokenizerFast) -> Turn | None:
    """:func:`turn_of`, ``None`` where there is no template that a fact can be put in."""
    try:
        return turn_of(tokenizer)
    except ChatTemplateError:
        return None


def turn_in(tokenizer: PreTrainedTokenizerFast, text: str) -> Turn | None:
    """The turn that ``text`` is, else ``None``."""
    turn = optional_turn(tokenizer)
    return turn if turn is not None and turn.holds(text) else None


def _around_answer(
    tokenizer: PreTrainedTokenizerFast, user: dict[str, str], question: str
) -> tuple[str | None, str]:
    """What the template writes before an answer, and behind it."""
    answer = {"role": "assistant", "content": _ANSWER}
    try:
        answered = _rendered(tokenizer, [user, answer], add_generation_prompt=False)
    except ChatTemplateError:
        return None, ""
    lead, found, end = answered.removeprefix(question).partition(_ANSWER)
    if not found or not answered.startswith(question) or lead.strip():
        return None, ""
    return lead, end.strip()


def _rendered(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Mapping[str, str]],
    *,
    add_generation_prompt: bool,
) -> str:
    try:
        template = tokenizer.get_chat_template()
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=(_CALENDAR if "strftime_now" in template else "") + template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,
        )
    except Exception as error:  # a template is a program: it fails in whatever way it likes
        raise ChatTemplateError(str(error).split("\n")[0]) from error
    return text
