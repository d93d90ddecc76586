"""JSON from anywhere: UTF-8, of bounded depth, and numbers that are some.

Python's reader takes what no other does, and values so deep that whoever prints or encodes them
later fails. Here they are refused where they are read.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

DEPTH = 64
"""Lists and objects inside each other, at most."""

MOST_DIGITS = 300
"""Of a whole number: it is a number of any other kind, too."""

_NO_NUMBER = re.compile(r'"([^"]*)"\s*:\s*\[?\s*(?:NaN|-?Infinity)')
"""The name before what is no number."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What writes half a character, unless the other half follows."""


class JsonError(ValueError):
    """A text that is no JSON, or more than anybody means by it. Says what is wrong with it."""


def read_json(data: bytes | str) -> Any:
    """The one value that ``data`` holds. Raises :class:`JsonError`, whatever it is."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text, parse_int=_whole, parse_float=_number, parse_constant=_no_number)
        if _HALF.search(text) or isinstance(data, str):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as cause:
        raise JsonError("a text in it is not UTF-8") from cause
    except RecursionError as cause:
        raise JsonError(TOO_DEEP) from cause
    except _NoNumber as cause:
        named = _NO_NUMBER.search(text)
        where = f"{named[1]!r} is" if named else "it holds"
        raise JsonError(f"{where} {cause}, which is no number") from None
    except JsonError:
        raise
    except ValueError as cause:
        raise JsonError(str(cause)) from cause
    if text.count("[") + text.count("{") > DEPTH:
        require_shallow(value)
    return value


TOO_DEEP = f"its values are nested more than {DEPTH} deep"


def require_shallow(value: Any) -> None:
    """Raise :class:`JsonError` for lists and objects that are more than :data:`DEPTH` deep."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > DEPTH:
            raise JsonError(TOO_DEEP)
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise JsonError(f"it holds a number of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise JsonError("it holds a number that is too large")
    return number


class _NoNumber(JsonError):
    """NaN or an infinity, as Python writes them."""


def _no_number(name: str) -> Any:
    raise _NoNumber(name)
