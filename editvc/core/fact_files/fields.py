"""A JSON object read field by field: what is wrong is noted, and reading goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from editvc.core.cut import quoted
from editvc.core.fact_files.json_records import type_name
from editvc.core.facts import A_DAY, NO_DAY, PLACEHOLDER, FactError, day
from editvc.core.invisible import WAY_OUT, unseen
from editvc.core.spelling import did_you_mean

STAND_IN = PLACEHOLDER
"""Read in place of a text that is not there: it passes as a subject, a prompt and a target."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of ``record``; ``path`` says where it stands in the whole one.

    A field that cannot be read adds to ``problems``, which the objects inside share, and a value
    stands in for it. So a fact that was read while there are problems is none.
    """

    record: dict[str, Any]
    path: str = ""
    problems: list[FactError] = field(default_factory=list)

    def refuse(self, key: str, problem: str, hint: str) -> None:
        """Note a problem of the field ``key``."""
        self.problems.append(FactError(self.path + key, problem, hint=hint))

    def refused(self, key: str) -> bool:
        """Whether a problem of the field ``key`` is noted."""
        return any(problem.field == self.path + key for problem in self.problems)

    def refuse_others(self, keys: tuple[str, ...]) -> None:
        """Refuse the keys that are none of ``keys``: a misspelt one would be dropped in silence."""
        for key in self.record:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"Fields: {', '.join(keys)}."
                self.refuse(key, "is no field of a fact", hint)

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self.record.get(key) is not None

    def text(self, key: str) -> str:
        """A text that must be there, without the white space around it."""
        if key not in self.record:
            self.refuse(key, "is missing", "Records of this schema cannot do without it.")
            return STAND_IN
        return self._text(self.record[key], key)

    def optional_text(self, key: str) -> str | None:
        """A text, or ``None`` where the key is missing or null."""
        return self.text(key) if self.has(key) else None

    def optional_day(self, key: str) -> str | None:
        """An ISO date, or ``None`` where the key is missing or null."""
        text = self.optional_text(key)
        if text is not None and not self.refused(key) and day(text) is None:
            self.refuse(key, NO_DAY.format(quoted(text)), A_DAY)
        return None if self.refused(key) else text

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where the key is missing or null."""
        if not self.has(key):
            return ()
        value = self.record[key]
        if not isinstance(value, list):
            self._wrong_type(key, "a list of texts", value)
            return ()
        return tuple(self._text(item, f"{key}[{i}]") for i, item in enumerate(value))

    def whole_prompts(self, key: str) -> tuple[str, ...]:
        """A list of prompts that name their subject themselves, empty where the key is missing."""
        texts = self.texts(key)
        for i in range(len(texts)):
            written = self.record[key][i]
            if isinstance(written, str) and PLACEHOLDER in written:
                self.refuse(
                    f"{key}[{i}]",
                    f"must be a whole prompt, without {PLACEHOLDER}, got {quoted(written)}",
                    f"Write the subject where {PLACEHOLDER} stands.",
                )
        return texts

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """One text or a list of them, as EasyEdit has it."""
        if isinstance(self.record.get(key), str):
            return (self.text(key),)
        return self.texts(key)

    def first_text(self, key: str) -> str | None:
        """A text, or the first of a list (of lists) of equivalent ones."""
        value = self.record.get(key)
        while isinstance(value, list) and value:
            value, key = value[0], key + "[0]"
        return None if value is None or value == [] else self._text(value, key)

    def inner(self, key: str) -> Fields:
        """The object that must be at ``key``."""
        if key not in self.record:
            self.refuse(key, "is missing", "Records of this schema cannot do without it.")
            return Fields({})
        return self._object(self.record[key], key)

    def inners(self, key: str) -> Iterator[Fields]:
        """The objects in the list at ``key``."""
        for i, item in enumerate(self.record[key]):
            yield self._object(item, f"{key}[{i}]")

    def prompt(self, key: str = "prompt") -> str:
        """A text with its one placeholder."""
        prompt = self.text(key)
        if prompt.count(PLACEHOLDER) != 1:
            self.refuse(
                key,
                f"needs exactly one {PLACEHOLDER} for the subject, got {quoted(prompt)}",
                f'Write it like "The capital of {PLACEHOLDER} is".',
            )
            return STAND_IN
        return prompt

    def template(self, key: str, subject: str) -> str:
        """A text with the literal subject in it made the placeholder.

        The last mention is taken, as a whole word if there is such a one: a subject's key is read
        at its last token, and the mention nearest to the answer is the one that has read all the
        rest. (Replacing every mention, as ROME does, leaves several placeholders.) A text that has
        a placeholder already keeps it, as in EasyEdit.
        """
        text = self.text(key)
        if PLACEHOLDER in text:
            return self.prompt(key) if not self.refused(key) else STAND_IN
        if self.refused("subject"):
            return STAND_IN
        words = list(re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", text))
        start = words[-1].start() if words else text.rfind(subject)
        if start < 0:
            at = text.casefold().find(subject.casefold())
            self.refuse(
                key,
                f"does not contain the subject {quoted(subject)}, got {quoted(text)}",
                f"The prompt spells it {quoted(text[at : at + len(subject)])}."
                if at >= 0
                else f"Write the subject as it stands in the prompt, or {PLACEHOLDER} in its "
                "place.",
            )
            return STAND_IN
        return text[:start] + PLACEHOLDER + text[start + len(subject) :]

    def _text(self, value: Any, key: str) -> str:
        """The space before an answer is the tokenizer's business, so none is kept."""
        if not isinstance(value, str):
            self._wrong_type(key, "text", value)
            return STAND_IN
        try:
            value.encode()
        except UnicodeEncodeError as error:
            self.refuse(
                key,
                f"holds half of a surrogate pair (\\u{ord(value[error.start]):04x}), "
                "which is no character",
                "Write the character itself, or both halves of its escape.",
            )
            return STAND_IN
        stripped = value.strip()
        if not stripped:
            self.refuse(key, "is empty", "Fill it in; an optional field can be left out.")
            return STAND_IN
        if hidden := unseen(stripped):
            self.refuse(key, hidden.problem, WAY_OUT)
            return STAND_IN
        return stripped

    def _object(self, value: Any, key: str) -> Fields:
        """Where there is none, one whose own problems nobody hears of."""
        if not isinstance(value, dict):
            self._wrong_type(key, "an object", value)
            return Fields({})
        return Fields(value, f"{self.path}{key}.", self.problems)

    def _wrong_type(self, key: str, expected: str, value: Any) -> None:
        self.refuse(
            key,
            f"must be {expected}, got {type_name(value)}",
            f"Write {expected} there; an optional field can be left out.",
        )
