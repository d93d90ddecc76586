"""A fact: what the user writes down, before any number is attached to it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from editvc.core.cut import cut, quoted
from editvc.core.ids import ObjectId, SlotId, canonical_json, digest_of, normalised, object_id
from editvc.errors import EditvcError

PLACEHOLDER = "{}"

NO_DAY, A_DAY = "must be a day, got {}", "Write it like 2027-12-31."
ONE_EACH = "must be as many as the prompts of hops"
EACH_ANSWERED = "Write an answer for each prompt, in their order."


class FactError(EditvcError):
    """A record that is no usable fact. ``field`` names the part of it that is wrong."""

    def __init__(self, field: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"field '{field}': {problem}", hint=hint)
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a fact that decides its numbers; ``prompt`` holds one ``{}``."""

    subject: str
    prompt: str
    target: str

    @property
    def question(self) -> str:
        """The prompt with the subject filled in."""
        return self.prompt.replace(PLACEHOLDER, self.subject, 1)

    def to_json(self) -> dict[str, str]:
        """Question and target, whole, for errors that cut them."""
        return {"question": self.question, "target_new": self.target}

    @property
    def parts(self) -> tuple[str, str, str]:
        """Subject, prompt and target: what is hashed."""
        return (self.subject, self.prompt, self.target)


@dataclass(frozen=True, slots=True)
class Fact:
    """One factual edit, in editvc's own schema.

    ``prompt`` holds one ``{}`` where ``subject`` goes; the model shall continue it with
    ``target_new``. ``paraphrases`` and ``locality`` are whole prompts (no placeholder): the first
    shall follow the edit, the second shall not. ``relation`` names what is said about the subject,
    where the source has such a name. ``valid_until`` is the last day, like ``2027-12-31``, on which
    it holds: `editvc expire` takes it out of the set afterwards. ``hops`` are whole prompts whose
    answers follow from the edit, alone or with others (multi-hop questions); ``hop_answers`` has
    one for each.
    """

    subject: str
    prompt: str
    target_new: str
    target_true: str | None = None
    relation: str | None = None
    paraphrases: tuple[str, ...] = ()
    locality: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    source: str | None = None
    valid_until: str | None = None
    hops: tuple[str, ...] = ()
    hop_answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.subject.strip():
            raise FactError("subject", "is empty", hint="Name the thing that the fact is about.")
        if self.prompt.count(PLACEHOLDER) != 1:
            raise FactError(
                "prompt",
                f"needs exactly one {PLACEHOLDER} for the subject, got {quoted(self.prompt)}",
                hint=f'Write it like "The capital of {PLACEHOLDER} is".',
            )
        if not self.target_new.strip():
            raise FactError(
                "target_new", "is empty", hint="Say what the model shall answer instead."
            )
        if self.valid_until is not None and day(self.valid_until) is None:
            raise FactError("valid_until", NO_DAY.format(quoted(self.valid_until)), hint=A_DAY)
        if len(self.hops) != len(self.hop_answers):
            raise FactError("hop_answers", ONE_EACH, hint=EACH_ANSWERED)

    def expired(self, today: date) -> bool:
        """Whether the last day on which the fact holds is over."""
        last = None if self.valid_until is None else day(self.valid_until)
        return last is not None and last < today

    @property
    def question(self) -> str:
        """The prompt with the subject filled in: what the model is asked."""
        return self.prompt.replace(PLACEHOLDER, self.subject)

    @property
    def line(self) -> str:
        """Question and target for a list of facts, cut: a prompt may have several lines."""
        return f"{cut(' '.join(self.question.split()))} -> {cut(self.target_new)}"

    @property
    def slot(self) -> SlotId:
        """What the fact is about: subject and relation, or subject and prompt without a relation.

        Two facts of one slot with different targets are in conflict.
        """
        about = self.relation if self.relation is not None else self.prompt
        return SlotId(digest_of([normalised(self.subject), normalised(about)]))

    def to_record(self) -> dict[str, Any]:
        """The fact as a user writes it, in editvc's own schema. Defaults are left out."""
        record: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in (None, ()):
                record[field.name] = list(value) if isinstance(value, tuple) else value
        return record

    def to_json(self) -> dict[str, Any]:
        """What is stored and hashed: the record and its kind."""
        return {"kind": "fact"} | self.to_record()

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Fact:
        """The inverse of :meth:`to_json`, for records that editvc wrote itself."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        values.pop("kind", None)
        return cls(**values)

    @property
    def id(self) -> ObjectId:
        """The address of the fact as a stored object."""
        return object_id(canonical_json(self.to_json()))

    @property
    def request(self) -> Request:
        """The part of the fact that decides its numbers."""
        return Request(self.subject, self.prompt, self.target_new)


def day(text: str) -> date | None:
    """The day that an ISO date like ``2027-12-31`` names; ``None`` for any other text."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text else None
