"""What a key of a recipe or of ``config.toml`` may be set to: its kind, its bounds, what it is for.

A class declares each of its keys once, as a dataclass field made by :func:`setting` or
:func:`number`. Everything else is read from there: what is refused and in which words, how a value
is read from YAML or from TOML, and which keys there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

_NO_DEFAULT: Any = dataclasses.MISSING


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of values, as users know it.

    ``words`` say what a value must be. ``read`` takes what YAML or a person writes, who may write
    5e-1 for a number, which is text to YAML; ``strict`` takes what TOML has read. Both raise
    ``ValueError`` or ``TypeError``. ``in_toml`` are the words with an example of TOML. ``quoted``:
    TOML has it as text, so that a person need not write the quotes.
    """

    words: str
    read: Callable[[Any], Any]
    strict: Callable[[Any], Any]
    in_toml: str
    quoted: bool = False


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _finite_number(value: Any) -> float:
    if not is_number(value) or not isfinite(value):
        raise TypeError(value)
    return float(value)


def _whole(value: Any) -> int:
    number = float(value)
    if isinstance(value, bool) or number != int(number):
        raise ValueError(value)
    return int(number)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(value)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    return tuple(_whole(item) for item in (value if isinstance(value, list | tuple) else [value]))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in _list(value))


def _list(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return value


def _object_id(value: Any) -> str:
    if len(_text(value)) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(value)
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


FLAG = Kind("true or false", bool, _flag, "true or false")
TEXT = Kind("a text", str, _text, "a string", quoted=True)
NUMBER = Kind("a number", _number, _finite_number, "a number")
WHOLE = Kind("a whole number", _whole, _integer, "a whole number")
WHOLES = Kind(
    "a list of whole numbers", _wholes, lambda value: tuple(map(_integer, _list(value))),
    "a list of whole numbers, like [1, 2]",
)  # fmt: skip
TEXTS = Kind(
    "a list of texts", _texts, lambda value: tuple(map(_text, _list(value))),
    'a list of strings, like ["{}"]',
)  # fmt: skip
OBJECT = Kind(
    "an object's id", lambda value: value or None, _object_id, "an object id (64 hex digits)",
    quoted=True,
)  # fmt: skip
OPTIONAL_OBJECT = Kind(
    "an object's id", lambda value: value or None,
    lambda value: None if value == "" else _object_id(value),
    "an object id (64 hex digits), or empty for none", quoted=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a recipe or a section.

    ``refers_to`` is the kind of object that an id is of. Where ``counts_with`` names a number, the
    setting counts only beside it. What is not ``portable`` is one repository's own: it is left out
    of a recipe that is written for others. What is not ``configured`` stands in no config.toml.
    """

    kind: Kind
    refers_to: str = ""
    counts_with: str = ""
    portable: bool = True
    configured: bool = True

    def refusal(self, value: Any) -> str:
        """What a value of the right kind must be and is not; empty where it is in range."""
        return ""


@dataclass(frozen=True, slots=True)
class Number(Setting):
    """A number from ``low`` to ``high``; ``above`` and ``below`` leave the ends themselves out.

    ``help`` says what it is for, as the tables of the documentation have it. ``neutral`` is what it
    has in a recipe whose method does not know it, where that is not its default: the value that
    changes nothing.
    """

    help: str = ""
    default: float = 0.0
    low: float = 0.0
    high: float = inf
    above: bool = False
    below: bool = False
    neutral: float | None = None

    def refusal(self, value: Any) -> str:
        """What a number must be and is not; empty where it is in range."""
        too_low = not value >= self.low or (self.above and value == self.low)
        too_high = value > self.high or (self.below and value == self.high)
        if not (too_low or too_high or not isfinite(value)):
            return ""
        if isfinite(self.high) and not self.below:
            return f"in {'(' if self.above else '['}{self.low:g}, {self.high:g}]"
        if too_high:
            return f"below {self.high:g}"
        if self.low > 0:
            return f"{self.low:g} or more"
        return "positive and finite" if self.above else "finite and not negative"


def setting(
    kind: Kind,
    default: Any = _NO_DEFAULT,
    *,
    refers_to: str = "",
    counts_with: str = "",
    portable: bool = True,
    configured: bool = True,
) -> Any:
    """A field with a :class:`Setting`; without a default it must be given."""
    declared = Setting(kind, refers_to, counts_with, portable, configured)
    return dataclasses.field(default=default, metadata={"setting": declared})


def number(
    default: float,
    *,
    help: str,
    above: float | None = None,
    low: float = 0.0,
    high: float = inf,
    below: float | None = None,
    neutral: float | None = None,
) -> Any:
    """A field with a :class:`Number`: whole where its default is.

    ``low`` and ``high`` belong to the range, ``above`` and ``below`` are ends that do not.
    """
    declared = Number(
        WHOLE if isinstance(default, int) else NUMBER,
        help=help,
        default=default,
        low=low if above is None else above,
        high=high if below is None else below,
        above=above is not None,
        below=below is not None,
        neutral=neutral,
    )
    return dataclasses.field(default=default, metadata={"setting": declared})


def settings_of(cls: type[Any]) -> Mapping[str, Setting]:
    """What a class declares with :func:`setting` and :func:`number`, by key, in its order."""
    return {
        item.name: item.metadata["setting"]
        for item in dataclasses.fields(cls)
        if "setting" in item.metadata
    }
