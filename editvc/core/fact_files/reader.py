"""Facts from files: editvc's own schema, and those of datasets and other tools, as JSON or CSV.

:func:`examined` reads all there is, facts and problems. :func:`read_facts` is the same reading, all
or nothing: the facts of every input, each with the place it was written at, or one
:class:`FactFileError` that names the first problem and lists the others.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from editvc.core.cut import quoted
from editvc.core.fact_files.choices import (
    Choices,
    Subject,
    Target,
    TargetChoiceError,
    only_candidate,
)
from editvc.core.fact_files.csv_records import delimiter_by_name, delimiter_in, read_table
from editvc.core.fact_files.fact_file_error import FactFileError, place
from editvc.core.fact_files.file_text import decoded
from editvc.core.fact_files.json_records import Record, read_records
from editvc.core.fact_files.lookalikes import require_facts
from editvc.core.fact_files.schemas import facts_of, is_record
from editvc.core.facts import Fact, FactError
from editvc.core.ids import SlotId

__all__ = [
    "FactFileError",
    "Reading",
    "SourcedFact",
    "Subject",
    "Target",
    "examined",
    "marked",
    "only_candidate",
    "read_facts",
]

Source = tuple[str, str | bytes]
"""A file's name (``-``: standard input) and what is in it: text, or bytes to be read as UTF-8."""


@dataclass(frozen=True, slots=True)
class SourcedFact:
    """A fact and the place it was written at.

    ``line`` is where its record begins (``None`` for a fact that comes from no file), ``record``
    the record's number in the file, both from 1. ``duplicate_of`` is the place of an earlier fact
    of the same slot and target in the same reading, else ``None``: such a fact changes nothing.
    """

    fact: Fact
    file: str
    line: int | None
    record: int
    duplicate_of: str | None = None

    @property
    def place(self) -> str:
        """``facts.jsonl:12``, or ``facts (record 12)`` without a line."""
        return place(self.file, self.line) + (f" (record {self.record})" if not self.line else "")


@dataclass(frozen=True, slots=True)
class Reading:
    """What :func:`examined` sourced: the good facts, and the problems by file and line."""

    facts: tuple[SourcedFact, ...]
    problems: tuple[FactFileError, ...]
    files: tuple[str, ...]

    @property
    def findings(self) -> list[FactFileError]:
        """The problems, and the repeats too, which no reading fails for: a commit skips them."""
        repeats = [_repeat(item) for item in self.facts if item.duplicate_of is not None]
        return _in_order(self.files, [*self.problems, *repeats])


def examined(
    sources: Sequence[Source], *, target: Target | None = None, subject: Subject | None = None
) -> Reading:
    """Read ``sources`` to their end, past everything that is wrong.

    ``target`` says which answer of a zsRE record to teach, ``subject`` names what a free question
    is about where that is not written beside it; no other schema asks for them. Repeats are marked
    as by :func:`marked`; a fact that contradicts an earlier one of its slot is a problem. Of a
    record with any problem no fact is made. A text that is no JSON has one problem: its first.
    """
    sourced: list[SourcedFact] = []
    problems: list[FactFileError] = []
    for file, data in sources:
        facts, wrong = _in_file(file, data, Choices(target, subject))
        sourced += facts
        problems += wrong
    sourced, contradictions = _mark(sourced)
    files = tuple(file for file, _ in sources)
    return Reading(tuple(sourced), tuple(_in_order(files, [*problems, *contradictions])), files)


def read_facts(
    sources: Sequence[Source], *, target: Target | None = None, subject: Subject | None = None
) -> list[SourcedFact]:
    """All facts of ``sources``, as :func:`examined` finds them, if there is no problem in any.

    Raises :class:`FactFileError`, also where two facts of one slot have different targets.
    """
    reading = examined(sources, target=target, subject=subject)
    if reading.problems:
        raise _together(reading.problems)
    return list(reading.facts)


def marked(facts: Iterable[SourcedFact]) -> list[SourcedFact]:
    """The same facts, with ``duplicate_of`` set where one repeats an earlier one.

    Raises :class:`FactFileError` where one contradicts an earlier one: same slot, other target.
    """
    sourced, contradictions = _mark(facts)
    if contradictions:
        raise _together(contradictions)
    return sourced


def _in_file(
    file: str, data: str | bytes, choices: Choices
) -> tuple[list[SourcedFact], list[FactFileError]]:
    """The facts of one file, and what is wrong in it."""
    try:
        text = decoded(file, data) if isinstance(data, bytes) else data
        delimiter = delimiter_in(text)
        if delimiter is None:
            require_facts(file, text)
            delimiter = delimiter_by_name(file)
    except FactFileError as error:
        return [], [error]
    records, problems = (
        read_records(file, text, is_record=is_record)
        if delimiter is None
        else read_table(file, text, delimiter)
    )
    facts: list[SourcedFact] = []
    choice_told = False
    for record in records:
        of_record, wrong = facts_of(record.value, choices)
        facts += [SourcedFact(fact, file, record.line, record.number) for fact in of_record]
        for each in wrong:
            if isinstance(each, TargetChoiceError):
                if choice_told:
                    continue  # one choice for the whole file, not one a record
                choice_told = True
            problems.append(_at(file, record, each))
    return facts, problems


def _at(file: str, record: Record, error: FactError) -> FactFileError:
    hint = error.hint
    if isinstance(error, TargetChoiceError):
        # Not every command has --target, and from Python there is none.
        hint = (
            f"Choose: `editvc convert {shlex.quote(file)} --target answers`, or --target alt, "
            "makes facts of it; `commit` takes the same option."
        )
    return FactFileError(
        file, error.problem, line=record.line, record=record.number, field=error.field, hint=hint
    )


def _mark(facts: Iterable[SourcedFact]) -> tuple[list[SourcedFact], list[FactFileError]]:
    sourced: list[SourcedFact] = []
    contradictions: list[FactFileError] = []
    first_of: dict[SlotId, SourcedFact] = {}
    for item in facts:
        earlier = first_of.setdefault(item.fact.slot, item)
        if earlier is item:
            sourced.append(item)
        elif earlier.fact.target_new == item.fact.target_new:
            sourced.append(replace(item, duplicate_of=earlier.place))
        else:
            contradictions.append(_contradiction(item, earlier))
    return sourced, contradictions


def _contradiction(item: SourcedFact, earlier: SourcedFact) -> FactFileError:
    return FactFileError(
        item.file,
        f"is {quoted(item.fact.target_new)} for {quoted(item.fact.subject)}, but {earlier.place} "
        f"gives the same slot the target {quoted(earlier.fact.target_new)}",
        line=item.line,
        record=item.record,
        field="target_new",
        hint="Keep one of the two, or commit them one after the other with --supersede.",
    )


def _in_order(files: Sequence[str], problems: Iterable[FactFileError]) -> list[FactFileError]:
    order = {file: i for i, file in reversed(list(enumerate(files)))}
    return sorted(problems, key=lambda error: (order[error.file], error.line or 0))


def _repeat(item: SourcedFact) -> FactFileError:
    return FactFileError(
        item.file,
        f"says of {quoted(item.fact.subject)} what {item.duplicate_of} says already",
        line=item.line,
        record=item.record,
        field="target_new",
        hint="Take it out, or leave it: a commit skips it.",
    )


def _together(problems: Sequence[FactFileError]) -> FactFileError:
    """The first problem, carrying the others."""
    first, *others = problems
    if not others:
        return first
    return FactFileError(
        first.file,
        first.problem,
        line=first.line,
        record=first.record,
        field=first.field,
        hint=first.hint,
        others=others,
    )
