"""Whether a dataclass that was read from outside holds what its annotations say."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from editvc.core.ids import ObjectId, SlotId

Fits = Callable[[Any], bool]

_DIGITS = re.compile("[0-9a-f]{64}")


LARGEST = 1 << 63
"""Whole numbers are smaller than this, as they are in SQLite and in tensors."""


def is_object_id(value: Any) -> bool:
    """Whether a value is 64 hexadecimal digits."""
    return isinstance(value, str) and _DIGITS.fullmatch(value) is not None


def misfit(value: Any) -> str | None:
    """The first field of a dataclass whose value is not of its type; ``None`` where all are.

    Types are those of stored records: texts, numbers, truth values, ids, tuples, dataclasses, and
    unions of them. A slot is 64 hexadecimal digits. A whole number passes for a number, as in JSON,
    and has 64 bits at most.
    """
    cls: Any = type(value)
    for name, fits in _fields(cls):
        if not fits(getattr(value, name)):
            return name
    return None


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, Fits], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((item.name, _check(hints[item.name])) for item in dataclasses.fields(cls))


@cache
def _check(hint: Any) -> Fits:
    if hint is SlotId:
        return is_object_id
    if hint is ObjectId:  # what gets an object looks at its id
        return lambda value: isinstance(value, str)
    if hint is None or hint is type(None):
        return lambda value: value is None
    if hint is int:
        return lambda value: type(value) is int and -LARGEST <= value < LARGEST
    if hint is float:
        return lambda value: type(value) in (int, float)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return lambda value: isinstance(value, hint) and misfit(value) is None
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        choices = tuple(map(_check, inner))
        return lambda value: any(fits(value) for fits in choices)
    if origin is tuple and inner[-1] is Ellipsis:
        each = _check(inner[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    if origin is tuple:
        parts = tuple(map(_check, inner))
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(fits(one) for fits, one in zip(parts, value, strict=True))
        )
    return lambda value: type(value) is hint
