"""Facts as CSV or TSV with a header: text in, records of editvc's own schema on lines out."""

from __future__ import annotations

import csv
import io

from editvc.core.fact_files.fact_file_error import FactFileError
from editvc.core.fact_files.file_text import BYTE_ORDER_MARK
from editvc.core.fact_files.json_records import Record
from editvc.core.fact_files.schemas import OWN_KEYS, QUESTION_KEYS, REQUIRED
from editvc.core.spelling import did_you_mean

LISTS = ("paraphrases", "locality", "tags")
SEPARATOR = "|"
"""Between the texts in one cell of a list; a list's column may also stand several times."""

EXAMPLE = "subject,prompt,target_new"


TABLES = {",": ("CSV", ".csv"), "\t": ("TSV", ".tsv")}
"""What stands between two cells, the name of such a table, and how its files' names end."""


def delimiter_in(text: str) -> str | None:
    """What stands between the cells of a text whose first row has the required columns."""
    return next((one for one in TABLES if has_columns(text, one)), None)


def delimiter_by_name(file: str) -> str | None:
    """What a file's name says that stands between its cells, where it is a table's."""
    name = file.lower().removesuffix(".gz")
    return next((one for one, (_, end) in TABLES.items() if name.endswith(end)), None)


def has_columns(text: str, delimiter: str) -> bool:
    """Whether the first row has the columns that a table cannot do without."""
    start = text.removeprefix(BYTE_ORDER_MARK).lstrip()
    if start.startswith(("{", "[")):
        return False
    try:
        header = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return False
    names = [name.strip() for name in header]
    return set(_required(names)) <= set(names)


def _required(header: list[str]) -> tuple[str, ...]:
    """The columns that a table cannot do without; a question's subject may be asked for."""
    if "question" in header:
        return ("question", "answer" if "answer" in header else "target_new")
    return REQUIRED


def read_table(file: str, text: str, delimiter: str) -> tuple[list[Record], list[FactFileError]]:
    """All rows as records, and every problem met on the way; rows of empty cells do not count.

    A record's line is the one that its row begins on: a quoted cell may hold line breaks.
    """
    rows, problems = _rows(file, text.removeprefix(BYTE_ORDER_MARK), delimiter)
    if not rows:
        hint = f"Begin with a header, like {EXAMPLE.replace(',', delimiter)}"
        return [], problems or [FactFileError(file, "is empty", hint=hint)]
    (line, first), *below = rows
    header = [name.strip() for name in first]
    if wrong := _header_problems(file, line, header):
        return [], wrong
    if not below and not problems:
        hint = "Write one fact a row below the header."
        return [], [FactFileError(file, "holds no row below its header", line=line, hint=hint)]
    records = []
    for number, (line, cells) in enumerate(below, 1):
        if len(cells) == len(header):
            records.append(Record(_record(header, cells), line, number))
        else:
            problems.append(_miscounted(file, line, number, len(cells), len(header), delimiter))
    return records, problems


def _rows(
    file: str, text: str, delimiter: str
) -> tuple[list[tuple[int, list[str]]], list[FactFileError]]:
    """The rows with the lines they begin on, up to the first that is none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        name, _ = TABLES[delimiter]
        hint = (
            f"Put a cell with a {'comma' if delimiter == ',' else 'tab'}, quote or line break in "
            '"...", and write a quote in it as "".'
        )
        return rows, [FactFileError(file, f"is not {name}: {error}", line=line, hint=hint)]
    return rows, []


def _header_problems(file: str, line: int, header: list[str]) -> list[FactFileError]:
    def problem(name: str, what: str, hint: str) -> FactFileError:
        return FactFileError(file, what, line=line, field=name, hint=hint)

    required = _required(header)
    keys = QUESTION_KEYS if "question" in header else OWN_KEYS
    problems = [
        problem(name, "is missing", f"The header needs {', '.join(required)}.")
        for name in required
        if name not in header
    ]
    for name in dict.fromkeys(header):
        if name not in keys:
            hint = did_you_mean(name, keys) or f"Columns: {', '.join(keys)}."
            problems.append(problem(name, "is no field of a fact", hint))
        elif header.count(name) > 1 and name not in LISTS:
            hint = f"Keep one; only {', '.join(LISTS)} may have several columns."
            problems.append(problem(name, "stands twice in the header", hint))
    return problems


def _record(header: list[str], cells: list[str]) -> dict[str, object]:
    """A row as an object; an empty cell of an optional column is as if it were not there."""
    record: dict[str, object] = {name: "" for name in _required(header)}
    texts: dict[str, list[str]] = {}
    for name, cell in zip(header, cells, strict=True):
        if name in LISTS and cell.strip():
            texts.setdefault(name, []).extend(cell.split(SEPARATOR))
        elif cell.strip():
            record[name] = cell
    return record | texts


def _miscounted(
    file: str, line: int, number: int, cells: int, columns: int, delimiter: str
) -> FactFileError:
    return FactFileError(
        file,
        f"has {cells} cells under {columns} columns",
        line=line,
        record=number,
        hint=f'Put a text with a {"comma" if delimiter == "," else "tab"} in "...", and write an '
        "empty cell for what is not there.",
    )
