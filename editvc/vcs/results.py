"""What was measured of a version, kept under what was asked: nothing is computed twice.

A file ``results/TREE/QUESTION-CONTENT.json`` holds one question with its answer as JSON.
``QUESTION`` is the digest of the question, ``CONTENT`` the sha256 of the file, so a result is found
by what was asked and verified by what it is. Results are no cache (another version of editvc does
not drop them) and no history (nothing leads to them, and a commit does not change with them): the
folder may be deleted, which costs the time that its measurements took.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId, digest_of, object_id
from editvc.core.plain_json import read_json
from editvc.vcs.files import Files


@dataclass(frozen=True, slots=True)
class Question:
    """What a measurement depends on.

    ``suite`` names what is measured, and ``protocol`` counts the ways in which editvc has measured
    it; ``settings`` are what the caller chose, and ``data`` is the digest of what was asked.
    """

    tree: ObjectId
    base: ObjectId
    suite: str
    protocol: int
    settings: Mapping[str, Any]
    data: str

    @property
    def digest(self) -> str:
        """sha256 over all of it."""
        return digest_of(asdict(self))


@dataclass(frozen=True, slots=True)
class Result:
    """A question and its answer, which is JSON."""

    question: Question
    answer: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """What is stored: JSON, the answer's keys in the order in which they were given."""
        record = {"kind": "result", "question": asdict(self.question), "answer": self.answer}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Result:
        """The inverse of :meth:`to_bytes`, but that all lists are lists then.

        Raises ``ValueError``, ``TypeError`` or ``KeyError`` for anything else.
        """
        record = read_json(data)
        return cls(Question(**record["question"]), record["answer"])


class Results:
    """The results of one repository. ``folder`` is made on the first :meth:`put`."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files

    def get(self, question: Question) -> Mapping[str, Any] | None:
        """The answer to a question; None where there is none, or none that is sound."""
        for path in self._answers(question):
            result = _read(path)
            if result is not None:
                return result.answer
        return None

    def put(self, result: Result) -> None:
        """Keep an answer, in the place of any other to its question. Raises ``WriteError``."""
        data, question = result.to_bytes(), result.question
        name = f"{question.digest}-{object_id(data)}.json"
        older = [path for path in self._answers(question) if path.name != name]
        self.files.write(self.folder / question.tree / name, data)
        for path in older:
            with suppress(OSError):  # two answers are no damage
                path.unlink()

    def of_tree(self, tree: ObjectId) -> list[Result]:
        """All sound results of one tree, in the order of their suites."""
        found = [result for path in self._paths(tree) if (result := _read(path)) is not None]
        return sorted(found, key=lambda one: (one.question.suite, one.question.digest))

    def damaged(self) -> Iterator[str]:
        """Names of files, from the folder on, whose content is not what they are named after."""
        with suppress(OSError):
            for tree in sorted(self.folder.iterdir()):
                for path in self._paths(ObjectId(tree.name)):
                    if _read(path) is None:
                        yield f"{tree.name}/{path.name}"

    def _answers(self, question: Question) -> list[Path]:
        start = f"{question.digest}-"
        return [path for path in self._paths(question.tree) if path.name.startswith(start)]

    def _paths(self, tree: ObjectId) -> list[Path]:
        return sorted((self.folder / tree).glob("*-*.json"))


def _read(path: Path) -> Result | None:
    """The result in a file; None where it is not the one that its name tells of."""
    try:
        data = path.read_bytes()
        if object_id(data) != path.stem.partition("-")[2]:
            return None
        result = Result.from_bytes(data)
        asked = (result.question.tree, result.question.digest)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return result if asked == (path.parent.name, path.stem.partition("-")[0]) else None
