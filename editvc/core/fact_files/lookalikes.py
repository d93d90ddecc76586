"""Texts that are no facts in JSON, CSV or TSV: what they look like, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from editvc.core.fact_files.csv_records import has_columns
from editvc.core.fact_files.fact_file_error import FactFileError
from editvc.core.fact_files.file_text import BYTE_ORDER_MARK

_TO_JSON = (
    'python -c "import json, sys, {0}; print(json.dumps({1}(sys.stdin.read())))" < FILE > NEW'
)
_TO_CSV = (
    'python -c "import csv, sys; csv.writer(sys.stdout).writerows('
    "csv.reader(sys.stdin, delimiter='{0}'))\" < FILE > NEW"
)


@dataclass(frozen=True, slots=True)
class Lookalike:
    """``fits`` is given the file's name and its text, without white space in front."""

    name: str
    fits: Callable[[str, str], bool]
    hint: str


def _begins(pattern: str) -> Callable[[str, str], bool]:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda file, text: found.match(text) is not None


def _separated(by: str) -> Callable[[str, str], bool]:
    """Whether the first row has a table's columns, with ``by`` between them."""
    return lambda file, text: has_columns(text, by)


def _is_yaml(file: str, text: str) -> bool:
    """By the name, unless JSON stands in it, which is YAML too; else by the first line."""
    if text.startswith(("{", "[")):
        return False
    named = file.lower().removesuffix(".gz").endswith((".yaml", ".yml"))
    return named or _YAML.match(text) is not None


_YAML = re.compile(r"(#.*\n|---\s*\n|\s)*(- +)?[A-Za-z_]\w*:(\s|$)")

LOOKALIKES: tuple[Lookalike, ...] = (
    Lookalike(
        "a pointer of Git LFS, and not the file it stands for",
        _begins(r"version https://git-lfs"),
        "`git lfs pull` fetches the file.",
    ),
    Lookalike(
        "a page of HTML or XML",
        _begins(r"<(!doctype|html|\?xml|head|body)"),
        "Download the file itself, and not the page that shows it.",
    ),
    Lookalike(
        "what Python prints of its values, in single quotes",
        _begins(r"\[?\s*\{\s*'"),
        f"Make JSON of it: `{_TO_JSON.format('ast', 'ast.literal_eval')}`.",
    ),
    Lookalike(
        "CSV with semicolons",
        _separated(";"),
        f"Save it with commas: `{_TO_CSV.format(';')}`.",
    ),
    Lookalike(
        "a table with bars between its columns",
        _separated("|"),
        "Write it as CSV, with commas.",
    ),
    Lookalike("YAML", _is_yaml, f"Make JSON of it: `{_TO_JSON.format('yaml', 'yaml.safe_load')}`."),
)


def require_facts(file: str, text: str) -> None:
    """Raise :class:`FactFileError` for a text that looks like something else than facts."""
    start = text.removeprefix(BYTE_ORDER_MARK).lstrip()
    for one in LOOKALIKES:
        if one.fits(file, start):
            raise FactFileError(file, f"looks like {one.name}", hint=one.hint)
