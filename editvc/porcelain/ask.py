"""``ask``: what the model of a revision says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.invisible import require_visible
from editvc.materialise.edited_model import load_edited
from editvc.models.chat_template import Turn, turn_of
from editvc.models.conversation import Conversation
from editvc.models.generation import generate, positions_left, prompt_length
from editvc.session.fact_input import Facts, sourced
from editvc.session.session import Session
from editvc.session.trees import tree_at


def ask(session: Session, prompt: str, revision: str, max_new_tokens: int) -> str:
    """What the model of a revision says after ``prompt``, by greedy generation."""
    require_visible(prompt=prompt)
    base = session.base_model()
    left = positions_left(base, prompt_length(base, prompt))
    if left is not None and left < max_new_tokens:
        session.remark(
            f"the model has {base.positions} positions: the answer ends after {left} "
            f"token{'' if left == 1 else 's'}"
        )
    with session.edited(tree_at(session, revision)) as lm:
        return generate(lm, prompt, max_new_tokens)


@contextmanager
def converse(session: Session, revision: str, max_new_tokens: int) -> Iterator[Conversation]:
    """A conversation with the model of a revision; the base is itself again afterwards."""
    with session.edited(tree_at(session, revision)) as lm:
        yield Conversation(lm, max_new_tokens)


def load_model(session: Session, revision: str) -> Any:
    """A fresh transformers model that answers as a revision does, codebooks attached."""
    tree = tree_at(session, revision)
    return load_edited(session.materialiser, tree, session.compute).model


def chat_turn(session: Session) -> Turn:
    """What the base's chat template writes around a user's words."""
    return turn_of(session.base_model().tokenizer)


def in_chat(session: Session, facts: Facts) -> list[SourcedFact]:
    """The same facts, asked as a user's turn of the base's chat template."""
    turn = chat_turn(session)
    return [replace(record, fact=turn.asking(record.fact)) for record in sourced(facts)]
