"""Strict JSON and JSONL: text in, records with the line that each began on out.

Stricter than the standard decoder where a silent choice would lose a user's words: a key that
stands twice in one object, NaN and Infinity, and half a surrogate pair are errors, each with the
line that it is on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from editvc.core.fact_files.fact_file_error import FactFileError
from editvc.core.fact_files.file_text import BYTE_ORDER_MARK

EXAMPLE = '{"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}'
_SPACE = re.compile(r"[ \t\r\n]*")
_TYPES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object of a file, the line that it begins on and its place, both from 1."""

    value: dict[str, Any]
    line: int
    number: int


def type_name(value: Any) -> str:
    """What a JSON value is, in the words of an error message."""
    return _TYPES.get(type(value), "a number")


def read_records(
    file: str, text: str, *, is_record: Callable[[dict[str, Any]], bool]
) -> tuple[list[Record], list[FactFileError]]:
    """All records of a JSON or JSONL text, and every problem met on the way.

    One object, a list of objects, an object that holds one such list, or an object a line.
    ``is_record`` tells whether an object is a record itself, which settles whether a list inside
    it is part of the record or the list of records.
    """
    document = _Text(file, text.removeprefix(BYTE_ORDER_MARK))
    try:
        _refuse_half_characters(document)
        if not document.text.strip(" \t\r\n"):
            raise FactFileError(file, "is empty", hint=f"Write one fact a line, like {EXAMPLE}")
        lines = _as_lines(document)
        if lines is not None:
            return _from_lines(lines)
        return _numbered(document, _from_document(document, is_record)), []
    except FactFileError as error:
        return [], [error]


@dataclass(frozen=True, slots=True)
class _Text:
    """A piece of a file and the line it begins on: offsets in it can be told as lines."""

    file: str
    text: str
    first_line: int = 1

    def line(self, offset: int) -> int:
        return self.first_line + self.text.count("\n", 0, offset)

    def error(
        self, offset: int, problem: str, *, field: str | None = None, hint: str = ""
    ) -> FactFileError:
        return FactFileError(self.file, problem, line=self.line(offset), field=field, hint=hint)

    def skip(self, offset: int) -> int:
        """The offset of the next character that is not white space."""
        match = _SPACE.match(self.text, offset)
        return match.end() if match else offset

    def starts(self, offset: int, character: str) -> bool:
        return self.text.startswith(character, offset)

    def decode(self, offset: int) -> tuple[Any, int]:
        """The JSON value at ``offset`` and where it ends."""
        try:
            return _DECODER.raw_decode(self.text, offset)
        except json.JSONDecodeError as error:
            raise self.no_json(error.pos, error.msg) from error
        except _DuplicateKeyError as error:
            raise self.twice(offset, error.key) from error
        except RecursionError as error:
            raise self.error(
                offset, "is nested too deeply to be a fact", hint=f"Write it like {EXAMPLE}"
            ) from error
        except _ConstantError as error:
            raise self.error(
                offset, f"holds {error.name}, which is no JSON", hint="Leave it out, or write null."
            ) from error
        except ValueError as error:  # the interpreter's own limit on the digits of a number
            raise self.error(
                offset, "holds a number of too many digits", hint="Write it as text, in quotes."
            ) from error

    def twice(self, offset: int, key: str) -> FactFileError:
        return self.error(
            offset,
            "stands twice in one object",
            field=key,
            hint="Keep one of the two: JSON itself does not say which of them counts.",
        )

    def no_json(self, offset: int, reason: str) -> FactFileError:
        column = offset - self.text.rfind("\n", 0, offset)
        return self.error(
            offset,
            f"is not JSON: {reason} (column {column})",
            hint=f"Facts are JSON: a list of objects, or one object a line, like {EXAMPLE}",
        )

    def decode_all(self) -> Any:
        """The one value that the whole text is."""
        start = self.skip(0)
        value, end = self.decode(start)
        self.ends(end)
        return value

    def decode_each(self) -> Iterator[tuple[int, Any]]:
        """The values that the text is, one after the other, with their offsets."""
        start = self.skip(0)
        while start < len(self.text):
            value, end = self.decode(start)
            yield start, value
            start = self.next_value(end)

    def next_value(self, offset: int) -> int:
        """Where the next of several values begins, or the end of the text.

        Objects and lists may stand behind one another, as several files in one; nothing else may
        follow.
        """
        rest = self.skip(offset)
        if self.starts(rest, "{") or self.starts(rest, "["):
            return rest
        self.ends(rest)
        return rest

    def ends(self, offset: int) -> None:
        """Raise where anything but white space is left."""
        rest = self.skip(offset)
        if self.starts(rest, ","):
            raise self.error(
                rest,
                "is not JSON: a comma follows the end of the value",
                hint="Put [ and ] around objects with commas between them, or leave the commas out",
            )
        if rest < len(self.text):
            raise self.no_json(rest, "something follows the end of the value")


class _DuplicateKeyError(ValueError):
    """A key that an object has twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return record


class _ConstantError(ValueError):
    """NaN or an infinity: Python's decoder takes them, JSON does not know them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _constant(name: str) -> Any:
    raise _ConstantError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _refuse_half_characters(document: _Text) -> None:
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        raise document.error(
            error.start, "is not UTF-8 text", hint="Save the file as UTF-8."
        ) from error


def _as_lines(document: _Text) -> list[_Text] | None:
    """The lines of a JSONL text that have something on them; ``None`` where it is one document.

    A text is JSONL when it is no document as a whole, begins with an object, and one of its first
    two lines is an object: so one broken line, even the first, is reported as that line.
    """
    lines = [
        _Text(document.file, line, number)
        for number, line in enumerate(document.text.split("\n"), 1)
        if line.strip(" \t\r")
    ]
    if len(lines) < 2 or not document.starts(document.skip(0), "{"):
        return None
    if not any(_is_object(line) for line in lines[:2]):
        return None
    try:
        document.decode_all()
    except FactFileError:
        return lines
    return None


def _is_object(text: _Text) -> bool:
    try:
        return isinstance(text.decode_all(), dict)
    except FactFileError:
        return False


def _from_lines(lines: list[_Text]) -> tuple[list[Record], list[FactFileError]]:
    records: list[Record] = []
    problems = []
    for line in lines:
        try:
            values = [_as_object(line, offset, value) for offset, value in line.decode_each()]
        except FactFileError as error:
            problems.append(error)
            continue
        for value in values:
            records.append(Record(value, line.first_line, len(records) + len(problems) + 1))
    return records, problems


def _as_object(text: _Text, offset: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise text.error(
            offset,
            f"a fact must be an object, got {type_name(value)}",
            hint=f"Write it like {EXAMPLE}",
        )
    return value


def _from_document(
    document: _Text, is_record: Callable[[dict[str, Any]], bool]
) -> list[tuple[int, dict[str, Any]]]:
    """The records of JSON values, one after the other, with their offsets in the text."""
    items: list[tuple[int, Any]] = []
    start = document.skip(0)
    while start < len(document.text):
        if document.starts(start, "["):
            more, end = _items(document, start)
        elif document.starts(start, "{"):
            whole, lists, end = _members(document, start)
            more = lists[0] if len(lists) == 1 and not is_record(whole) else [(start, whole)]
        else:
            more = [(start, document.decode_all())]
            end = len(document.text)
        items += more
        start = document.next_value(end)
    if not items:
        raise FactFileError(
            document.file,
            "holds an empty list: there is no fact in it",
            hint=f"Write one fact a line, like {EXAMPLE}",
        )
    return [(offset, _as_object(document, offset, value)) for offset, value in items]


def _items(text: _Text, start: int) -> tuple[list[tuple[int, Any]], int]:
    """The elements of the array at ``start`` with their offsets, and where the array ends."""
    items: list[tuple[int, Any]] = []
    offset = text.skip(start + 1)
    if text.starts(offset, "]"):
        return items, offset + 1
    while True:
        value, end = text.decode(offset)
        items.append((offset, value))
        end = text.skip(end)
        if text.starts(end, "]"):
            return items, end + 1
        if not text.starts(end, ","):
            raise text.no_json(end, "Expecting ',' or ']'")
        offset = text.skip(end + 1)


def _members(text: _Text, start: int) -> tuple[dict[str, Any], list[list[tuple[int, Any]]], int]:
    """The object at ``start``, the lists among its values with their offsets, and its end."""
    whole: dict[str, Any] = {}
    lists: list[list[tuple[int, Any]]] = []
    offset = text.skip(start + 1)
    if text.starts(offset, "}"):
        return whole, lists, offset + 1
    while True:
        if not text.starts(offset, '"'):
            raise text.no_json(offset, "Expecting a key in double quotes")
        key, end = text.decode(offset)
        if key in whole:
            raise text.twice(offset, key)
        colon = text.skip(end)
        if not text.starts(colon, ":"):
            raise text.no_json(colon, "Expecting ':' delimiter")
        value = text.skip(colon + 1)
        if text.starts(value, "["):
            items, end = _items(text, value)
            lists.append(items)
            whole[key] = [item for _, item in items]
        else:
            whole[key], end = text.decode(value)
        end = text.skip(end)
        if text.starts(end, "}"):
            return whole, lists, end + 1
        if not text.starts(end, ","):
            raise text.no_json(end, "Expecting ',' or '}'")
        offset = text.skip(end + 1)


def _numbered(document: _Text, items: list[tuple[int, dict[str, Any]]]) -> list[Record]:
    """Records with their lines, counted in one pass over the text."""
    records, line, before = [], document.first_line, 0
    for number, (offset, value) in enumerate(items, 1):
        line += document.text.count("\n", before, offset)
        before = offset
        records.append(Record(value, line, number))
    return records
