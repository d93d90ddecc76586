"""What is wrong with a file of facts: one error, told with its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from editvc.core.cut import cut
from editvc.errors import EditvcError

SHOWN = 5
"""Further problems that a message lists; ``others`` has all of them."""


class FactFileError(EditvcError):
    """A file of facts that cannot be read. Nothing of it was used.

    ``file`` is the name as it was given (``-`` is standard input), ``line`` counts from 1,
    ``record`` is the record's place in the file, from 1, ``field`` the key in the record, each
    ``None`` where there is none to name. ``others`` are the further problems that were found.
    """

    def __init__(
        self,
        file: str,
        problem: str,
        *,
        line: int | None = None,
        record: int | None = None,
        field: str | None = None,
        hint: str = "",
        others: Sequence[FactFileError] = (),
    ) -> None:
        self.file = file
        self.line = line
        self.record = record
        self.field = None if field is None else printable(field)
        self.problem = printable(problem)
        self.others = tuple(others)
        super().__init__("\n".join([self.headline, *self._further()]), hint=hint)

    @property
    def headline(self) -> str:
        """The first problem alone, in one line: place, record, field, problem."""
        inner = f"record {self.record}: " if self.record is not None else ""
        inner += f"field '{cut(self.field)}': " if self.field is not None else ""
        return f"{place(self.file, self.line)}: {inner}{self.problem}"

    def to_json(self) -> dict[str, Any]:
        """Only the problem itself, for scripts; ``None`` where there is nothing to name."""
        return {
            "file": self.file,
            "line": self.line,
            "record": self.record,
            "field": self.field,
            "problem": self.problem,
            "hint": self.hint,
        }

    def _further(self) -> list[str]:
        lines = [error.headline for error in self.others[:SHOWN]]
        if len(self.others) > SHOWN:
            lines.append(f"... and {len(self.others) - SHOWN} further problems")
        return lines


def place(file: str, line: int | None) -> str:
    """``facts.jsonl:12``; standard input has a name of its own."""
    name = "standard input" if file == "-" else file
    return name if line is None else f"{name}:{line}"


def printable(text: str) -> str:
    """Text of unknown origin for a message: control characters and half surrogates escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
