"""Records of training sets for chats: an instruction or a turn of a user, and what is to be said.

A single exchange is a free question with its answer, and is read as one. Whatever else stands
around it would be asked with it and be no part of the edit: then the record is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from editvc.core.fact_files.choices import Choices, subject_of
from editvc.core.fact_files.fields import STAND_IN, Fields
from editvc.core.facts import Fact

WRITE = 'Write {"question": ..., "subject": ..., "answer": ...} instead.'

CHATS = {"messages": ("role", "content"), "conversations": ("from", "value")}
"""Where a chat stands, as OpenAI has it and as ShareGPT has it, and the keys of a turn."""
USERS, MODELS = ("user", "human"), ("assistant", "gpt")

_UNREAD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("chosen", "rejected"), "a pair of preferences, as DPO takes it"),
    (("prompt", "completion"), "a prompt with its completion, as for fine-tuning"),
    (("context", "question", "answers"), "a record of SQuAD, whose answers stand in a text"),
    (("head", "relation", "tail"), "a triple of a graph of knowledge, which has no wording"),
    (("subject", "predicate", "object"), "a triple of a graph of knowledge, which has no wording"),
)
"""Keys that give a record away which is no fact, and what it looks like."""


def unread(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first key of a record that is no fact, and what it is; ``None`` for any other."""
    for keys, name in _UNREAD:
        if "target_new" not in record and all(key in record for key in keys):
            return keys[0], name
    return None


def refuse_unread(source: Fields, _: Choices) -> Iterator[Fact]:
    """What is no fact, whatever its texts say: refused by the name of what it looks like."""
    key, name = unread(source.record) or ("", "")
    source.refuse(key, f"makes this look like {name}, and no fact", WRITE)
    yield from ()


def alpaca(source: Fields, choices: Choices) -> Iterator[Fact]:
    """An Alpaca record without an input: ``instruction`` and ``output``."""
    _refuse_beside(source, "input", "an Alpaca record with an input")
    yield _exchange(source, (source, "instruction"), (source, "output"), choices)


def chat(source: Fields, choices: Choices) -> Iterator[Fact]:
    """A chat of two turns, the user's and the model's."""
    key = next(key for key in CHATS if key in source.record)
    role, words = CHATS[key]
    name = "a chat of messages" if key == "messages" else "a ShareGPT conversation"
    _refuse_beside(source, "system", f"{name} with a system prompt")
    turns = source.record[key]
    listed = turns if isinstance(turns, list) else []
    roles = [turn.get(role) if isinstance(turn, dict) else None for turn in listed]
    if len(roles) != 2 or roles[0] not in USERS or roles[1] not in MODELS:
        shown = ", ".join(map(str, roles[:4])) + (", ..." if len(roles) > 4 else "")
        problem = f"looks like {name}, and is no single exchange of a user and a model"
        source.refuse(key, f"{problem}: {shown}" if shown else problem, WRITE)
        return
    asked, answered = source.inners(key)
    yield _exchange(source, (asked, words), (answered, words), choices)


def _exchange(
    source: Fields, question: tuple[Fields, str], answer: tuple[Fields, str], choices: Choices
) -> Fact:
    """The fact of a question and its answer, each an object and the key that holds it there."""
    subject = subject_of(source, question[0].record.get(question[1]), choices)
    target = answer[0].text(answer[1])
    if source.refused("subject"):
        return Fact(STAND_IN, STAND_IN, target)  # none, for there is a problem
    return Fact(subject, question[0].template(question[1], subject), target)


def _refuse_beside(source: Fields, key: str, name: str) -> None:
    """Refuse a text that would be asked with the question; an empty one says nothing."""
    if source.record.get(key) not in (None, ""):
        source.refuse(key, f"stands beside the question: this looks like {name}", WRITE)
