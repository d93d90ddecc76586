"""Measured rows, one a setting of a part, in a file of the part; they are found again.

A row holds ``part``, ``setting``, ``code``, ``seconds`` of the processor and ``numbers``, all JSON.
It is found by part, setting and code; of each setting the row measured last is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

Row = Mapping[str, Any]
Setting = Mapping[str, Any]
Answer = TypeVar("Answer")


class Missing(Exception):
    """A row that a claim is judged by, and that was not measured yet."""

    def __init__(self, part: str, wanted: Setting) -> None:
        super().__init__(f"{part} {json.dumps(wanted, sort_keys=True)}")
        self.part = part


class Rows:
    """The files of rows in a folder, at the code of today."""

    def __init__(self, folder: Path, code: str, any_code: bool = False) -> None:
        self.folder, self.code, self.any_code = folder, code, any_code
        files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
        self.all: list[Row] = [
            json.loads(line)
            for file in files
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        self._read: list[tuple[str, str]] = []

    def has(self, part: str, setting: Setting) -> bool:
        """Whether a row is there, of this code unless rows of any count.

        Code with changes that are not committed has no name, so its rows count for no other run.
        """
        return any(
            row["part"] == part
            and row["setting"] == setting
            and (self.any_code or ("+" not in self.code and row["code"] == self.code))
            for row in self.all
        )

    def add(self, part: str, setting: Setting, numbers: Row, seconds: float) -> None:
        """Append a row to the file of its part."""
        row = {
            "part": part, "setting": dict(setting), "code": self.code, "seconds": round(seconds, 1),
            "numbers": rounded(numbers),
        }  # fmt: skip
        self.all.append(row)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{part}.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def latest(self, part: str) -> list[Row]:
        """The rows of a part, one a setting, in the order in which settings came first."""
        kept = {json.dumps(row["setting"], sort_keys=True): row for row in self.all
                if row["part"] == part}  # fmt: skip
        return [*kept.values()]

    def where(self, part: str, **wanted: Any) -> Iterator[Row]:
        """Rows of a part whose settings have these values."""
        for row in self.latest(part):
            if wanted.items() <= row["setting"].items():
                yield row

    def largest(self, part: str, **wanted: Any) -> Row:
        """Of them the row with the most edits. Raises :class:`Missing`."""
        found = [*self.where(part, **wanted)]
        if not found:
            raise Missing(part, wanted)
        most = max(found, key=size_of)
        self._read.append((part, told_size(most)))
        return most

    def some(self, part: str, **wanted: Any) -> list[Row]:
        """All of them, one at least. Raises :class:`Missing`."""
        found = [*self.where(part, **wanted)]
        if not found:
            raise Missing(part, wanted)
        self._read += [(part, told_size(row)) for row in found]
        return found

    def noting(self, ask: Callable[[Rows], Answer]) -> tuple[Answer, list[tuple[str, str]]]:
        """What is answered by rows, and the parts and sizes of those that were read for it."""
        self._read = []
        return ask(self), self._read


def size_of(row: Row) -> int:
    """Edits of a row; 0 where it is of none."""
    edits: int = row["setting"].get("edits", 0)
    return edits


def told_size(row: Row) -> str:
    """How many edits, or items of a task, a row is of."""
    setting = row["setting"]
    return next((f"{setting[name]} {name}" for name in ("edits", "items") if name in setting), "")


def rounded(value: Any) -> Any:
    """Numbers to six digits, in lists and mappings, too: what is measured has no more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {str(name): rounded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return value
