"""Which fusion rule a sequence of edits goes by, in words: its name and its numbers.

What the rules do is in :mod:`editvc.algebra.fusion`. Numbers that a paper does not give are the
caller's to choose; the defaults are where to begin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError


class FusionError(EditvcError):
    """A rule that there is not, or a number that is out of its range."""


@dataclass(frozen=True, slots=True)
class RuleNumber:
    """A number of a rule: in [low, high], or (low, high) where it is ``open``; its default."""

    name: str
    default: float
    low: float
    high: float
    open: bool = False

    def read(self, text: str) -> float:
        """The number in a text, of the default's type. Raises ``ValueError``."""
        value = type(self.default)(text)
        inside = self.low < value < self.high if self.open else self.low <= value <= self.high
        if not inside:
            raise ValueError
        return value

    @property
    def words(self) -> str:
        """``p (0.8): a number between 0 and 1``."""
        return f"{self.name} ({self.default:g}): a number between {self.low:g} and {self.high:g}"


_SHARE = RuleNumber("share", 0.5, 0.0, 1.0)
RULES: Mapping[str, tuple[RuleNumber, ...]] = {
    "sum": (),
    "alone": (),
    "drop": (RuleNumber("p", 0.8, 0.0, 1.0, open=True), RuleNumber("seed", 0, 0, 2**31)),
    "top": (RuleNumber("percent", 20.0, 0.0, 100.0),),
    "rect": (RuleNumber("percent", 40.0, 0.0, 100.0),),
    "average": (),
    "lookahead": (_SHARE, RuleNumber("every", 5, 1, 2**31)),
    "wise-ft": (_SHARE,),
    "prune": (RuleNumber("base", math.e, 1.0, math.inf, open=True),),
    "prune-linear": (RuleNumber("base", 2.0, 1.0, math.inf, open=True),),
}
"""The numbers of every rule, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class FusionRule:
    """A rule with a value for each of its numbers."""

    name: str
    numbers: Mapping[str, float]

    @classmethod
    def of(cls, text: str) -> FusionRule:
        """From its name with numbers behind colons: ``drop:0.9:1``, ``lookahead``, ``top:10``.

        Raises :class:`FusionError`.
        """
        name, *texts = text.split(":")
        taken = RULES.get(name)
        if taken is None:
            raise FusionError(
                f"no fusion rule is called {name!r}",
                hint=f"{did_you_mean(name, RULES)} There are {', '.join(RULES)}.",
            )
        try:
            given = {one.name: one.read(each) for one, each in zip(taken, texts, strict=False)}
            if len(texts) > len(taken):
                raise ValueError(text)
        except ValueError as error:
            written = ":".join([name, *(one.name.upper() for one in taken)])
            raise FusionError(
                f"{text!r} is no fusion rule with its numbers",
                hint=f"Write {written}. " + "; ".join(one.words for one in taken),
            ) from error
        numbers = {one.name: one.default for one in taken} | given
        return cls(name, numbers)

    @property
    def words(self) -> str:
        """As :meth:`of` reads it, every number spelt out."""
        return ":".join([self.name, *map(str, self.numbers.values())])

    def to_json(self) -> dict[str, Any]:
        """The name and the numbers: what a sequence depends on."""
        return {"rule": self.name, **self.numbers}
