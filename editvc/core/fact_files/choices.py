"""What records leave to the user: which answer of a zsRE record, and what a question is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from editvc.core.cut import quoted
from editvc.core.fact_files.fields import STAND_IN, Fields
from editvc.core.fact_files.subject_candidates import candidates
from editvc.core.facts import FactError

Target = Literal["answers", "alt"]
"""Which field of a zsRE record is the answer to teach (``--target`` on the command line)."""

Subject = Callable[[str, tuple[str, ...]], str | None]
"""Names a free question's subject, given the question and its candidates, the longest first."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What records leave to the user: zsRE's answer, and the subjects of free questions."""

    target: Target | None = None
    subject: Subject | None = None


def only_candidate(question: str, spans: tuple[str, ...]) -> str | None:
    """The :data:`Subject` that takes a proposal where there is just one."""
    return spans[0] if len(spans) == 1 else None


class TargetChoiceError(FactError):
    """A zsRE record, and nobody said which of its two answers the model shall give."""

    def __init__(self) -> None:
        super().__init__(
            "alt",
            "is this zsRE record's target, or is 'answers'? ROME and MEMIT teach answers[0], "
            "the true answer; EasyEdit teaches alt, the false one",
            hint="Choose with --target answers or --target alt.",
        )


class SubjectChoiceError(FactError):
    """A free question without a subject, and nobody said what it is about.

    ``candidates`` are the spans of it that look like a name.
    """

    def __init__(self, question: str, candidates: tuple[str, ...]) -> None:
        names = ", ".join(map(quoted, candidates))
        hint = f'Write "subject": "{candidates[0] if candidates else "..."}" into the record'
        super().__init__(
            "subject",
            f"is missing: the question {quoted(question)} "
            + (f"may be about {names}" if candidates else "names nothing that looks like one"),
            hint=hint
            + (", or take it so with --confirm-subjects." if len(candidates) == 1 else "."),
        )
        self.candidates = candidates


def subject_of(source: Fields, question: Any, choices: Choices) -> str:
    """The subject of a question: the one written beside it, or the one that is chosen."""
    if source.has("subject"):
        return source.text("subject")
    if not isinstance(question, str) or not question.strip():
        return STAND_IN  # which is told where the question is read
    spans = candidates(question)
    subject = choices.subject(question.strip(), spans) if choices.subject is not None else None
    if subject is None:
        source.problems.append(SubjectChoiceError(question.strip(), spans))
        return STAND_IN
    return subject
