"""A measurement is made once: asked again, its result is read from the repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.ids import digest_of, object_id
from editvc.session.session import Session
from editvc.vcs import codec
from editvc.vcs.files import WriteError
from editvc.vcs.results import Question, Result


def question_of(
    session: Session, tree: Tree, suite: str, protocol: int, settings: Mapping[str, Any], data: str
) -> Question:
    """A question about a tree. What models are run on and in belongs to its settings."""
    compute = session.compute
    device = {"device": compute.device, "dtype": compute.dtype}
    return Question(
        tree=object_id(codec.encode(tree)), base=tree.base, suite=suite, protocol=protocol,
        settings={**settings, **device}, data=data,
    )  # fmt: skip


def digest_of_facts(facts: Sequence[Fact]) -> str:
    """The digest of some facts, in their order: all that is asked of them counts."""
    return digest_of([fact.id for fact in facts])


def remembered(
    session: Session,
    question: Question,
    measure: Callable[[], Mapping[str, Any]],
    *,
    again: bool = False,
) -> Mapping[str, Any]:
    """The answer that the repository has, or else the one of ``measure``, kept from now on.

    ``again`` measures in any case. What cannot be kept is told all the same.
    """
    results = session.repository.results
    known = None if again else results.get(question)
    if known is not None:
        return known
    result = Result(question, measure())
    try:
        results.put(result)
    except WriteError as error:
        session.remark(f"the result is not kept: {error}")
    return Result.from_bytes(result.to_bytes()).answer  # the same the first time and the second
