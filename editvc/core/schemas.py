"""The schemas that facts come in: one function a schema, from a JSON object to facts.

A schema is recognised by its keys alone. editvc's own is strict (an unknown key is an error);
records of datasets carry much that editvc has no use for, so only the keys read here are checked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from editvc.core.facts import PLACEHOLDER, Fact, FactError
from editvc.core.reading import type_name

Target = Literal["answers", "alt"]
"""Which field of a zsRE record is the answer to teach (``--target`` on the command line)."""

NO_ANSWER = "<|endoftext|>"
"""What ROME's and EasyEdit's loaders write for an old answer that they do not know."""

OWN_KEYS = tuple(field.name for field in fields(Fact))
REQUIRED = ("subject", "prompt", "target_new")
_FASTEDIT_KEYS = ("subject", "prompt", "target", "queries")


class TargetChoiceError(FactError):
    """A zsRE record, and nobody said which of its two answers the model shall give."""

    def __init__(self) -> None:
        super().__init__(
            "alt",
            "is this zsRE record's target, or is 'answers'? ROME and MEMIT teach answers[0], "
            "the true answer; EasyEdit teaches alt, the false one",
            hint="Choose with --target answers or --target alt.",
        )


@dataclass(frozen=True, slots=True)
class _Fields:
    """A JSON object read key by key; ``path`` says where it stands in its record."""

    record: dict[str, Any]
    path: str = ""

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self.record.get(key) is not None

    def required(self, key: str) -> Any:
        if key not in self.record:
            raise FactError(
                self.path + key, "is missing", hint="Records of this schema cannot do without it."
            )
        return self.record[key]

    def text(self, key: str) -> str:
        return _text(self.required(key), self.path + key)

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where the key is missing or null."""
        if not self.has(key):
            return ()
        value = self.record[key]
        if not isinstance(value, list):
            raise _wrong_type(self.path + key, "a list of texts", value)
        return tuple(_text(item, f"{self.path}{key}[{i}]") for i, item in enumerate(value))

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """One text or a list of them, as EasyEdit has it."""
        if isinstance(self.record.get(key), str):
            return (self.text(key),)
        return self.texts(key)

    def inner(self, key: str) -> _Fields:
        return _inner(self.required(key), self.path + key)

    def prompt(self) -> str:
        """The field ``prompt``, with its one placeholder."""
        return _with_one_placeholder(self.text("prompt"), self.path + "prompt")


def facts_of(record: dict[str, Any], target: Target | None) -> list[Fact]:
    """The facts of one record, in whichever schema it is; :class:`FactError` names the field."""
    for marks, read in _FOREIGN:
        if not marks.isdisjoint(record):
            return list(read(_Fields(record), target))
    if isinstance(record.get("locality"), dict) or _is_bare_request(record):
        return list(_easyedit(_Fields(record), target))
    if _is_fastedit(record):
        return [_fastedit(_Fields(record))]
    return [_own(_Fields(record))]


def is_record(whole: dict[str, Any]) -> bool:
    """Whether an object is a record itself, rather than a wrapper of a list of records."""
    return any(key in whole for key in REQUIRED) or any(
        not marks.isdisjoint(whole) for marks, _ in _FOREIGN
    )


def _refuse_others(source: _Fields, keys: tuple[str, ...]) -> None:
    """Raise at a key that is none of ``keys``: a misspelt one would be dropped in silence."""
    for key in source.record:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            raise FactError(
                key,
                "is no field of a fact",
                hint=f"Did you mean '{near[0]}'?" if near else f"Fields: {', '.join(keys)}.",
            )


def _own(source: _Fields) -> Fact:
    _refuse_others(source, OWN_KEYS)
    return Fact(
        subject=source.text("subject"),
        prompt=source.prompt(),
        target_new=source.text("target_new"),
        target_true=source.optional_text("target_true"),
        relation=source.optional_text("relation"),
        paraphrases=source.texts("paraphrases"),
        locality=source.texts("locality"),
        tags=source.texts("tags"),
        source=source.optional_text("source"),
    )


def _counterfact_or_mquake(source: _Fields, _: Target | None) -> Iterator[Fact]:
    """One rewrite (CounterFact) or a list of them (MQuAKE): both use the same object for it."""
    rewrite = source.required("requested_rewrite")
    if not isinstance(rewrite, list):
        yield _rewrite(
            source.inner("requested_rewrite"),
            paraphrases=source.texts("paraphrase_prompts"),
            locality=_neighbours(source),
        )
        return
    if not rewrite:
        raise FactError(
            "requested_rewrite",
            "is an empty list: there is no edit in it",
            hint="Write at least one edit there, or take the record out.",
        )
    for i, item in enumerate(rewrite):
        edit = _inner(item, f"requested_rewrite[{i}]")
        question = edit.optional_text("question")
        yield _rewrite(edit, paraphrases=() if question is None else (question,), locality=())


def _rewrite(edit: _Fields, *, paraphrases: tuple[str, ...], locality: tuple[str, ...]) -> Fact:
    return Fact(
        subject=edit.text("subject"),
        prompt=edit.prompt(),
        target_new=edit.inner("target_new").text("str"),
        target_true=_known(edit.inner("target_true").text("str"))
        if edit.has("target_true")
        else None,
        relation=edit.optional_text("relation_id"),
        paraphrases=paraphrases,
        locality=locality,
    )


def _neighbours(source: _Fields) -> tuple[str, ...]:
    """Prompts, or objects with a prompt, as converted records have them."""
    key = "neighborhood_prompts"
    items = source.record.get(key)
    if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
        return tuple(_inner(item, f"{key}[{i}]").text("prompt") for i, item in enumerate(items))
    return source.texts(key)


def _easyedit(source: _Fields, _: Target | None) -> Iterator[Fact]:
    subject = source.text("subject")
    yield Fact(
        subject=subject,
        prompt=_template(source.text("prompt"), subject, "prompt"),
        target_new=source.text("target_new"),
        target_true=_known(_first_text(source.record.get("ground_truth"), "ground_truth")),
        paraphrases=source.text_or_texts("rephrase_prompt"),
        locality=_easyedit_locality(source),
    )


def _easyedit_locality(source: _Fields) -> tuple[str, ...]:
    """All prompts of all named groups: ``{name: {prompt, ground_truth}}``, or lists of those."""
    prompts = list(source.text_or_texts("locality_prompt"))
    if not source.has("locality"):
        return tuple(prompts)
    groups = source.inner("locality")
    for name, group in groups.record.items():
        path = f"{groups.path}{name}"
        members = (
            [(f"{path}[{i}]", item) for i, item in enumerate(group)]
            if isinstance(group, list)
            else [(path, group)]
        )
        for where, member in members:
            prompts += _inner(member, where).text_or_texts("prompt")
    return tuple(prompts)


def _zsre(source: _Fields, target: Target | None) -> Iterator[Fact]:
    if target not in get_args(Target):
        raise TargetChoiceError
    subject = source.text("subject")
    prompt = _template(source.text("src"), subject, "src")
    answers = source.texts("answers")
    if not answers and target == "answers":
        raise FactError(
            "answers",
            "is missing or empty, and --target answers asks for it",
            hint="Fill it in, take the record out, or choose --target alt.",
        )
    yield Fact(
        subject=subject,
        prompt=prompt,
        target_new=answers[0] if target == "answers" else source.text("alt"),
        target_true=answers[0] if target == "alt" and answers else None,
        paraphrases=source.text_or_texts("rephrase"),
        locality=source.text_or_texts("loc"),
    )


def _ultraeditbench(source: _Fields, _: Target | None) -> Iterator[Fact]:
    subject = source.text("subject")
    yield Fact(
        subject=subject,
        prompt=_template(source.text("prompt"), subject, "prompt"),
        target_new=source.text("ans"),
        paraphrases=source.text_or_texts("rephrase_prompt"),
        locality=source.text_or_texts("loc"),
    )


def _fastedit(source: _Fields) -> Fact:
    _refuse_others(source, _FASTEDIT_KEYS)
    return Fact(
        subject=source.text("subject"),
        prompt=source.prompt(),
        target_new=source.text("target"),
        paraphrases=source.texts("queries"),
    )


_FOREIGN: tuple[tuple[frozenset[str], Callable[[_Fields, Target | None], Iterator[Fact]]], ...] = (
    (
        frozenset(
            ("requested_rewrite", "paraphrase_prompts", "neighborhood_prompts", "single_hops")
        ),
        _counterfact_or_mquake,
    ),
    (frozenset(("src", "alt", "answers")), _zsre),
    (frozenset(("ans", "loc_ans")), _ultraeditbench),
    (
        frozenset(
            ("ground_truth", "rephrase_prompt", "portability", "locality_prompt", "loc_prompt")
        ),
        _easyedit,
    ),
)
"""Which keys give a schema away, first match first."""


def _is_fastedit(record: dict[str, Any]) -> bool:
    """Beside ``target_new`` these keys are mistakes in a record of editvc's own."""
    return "target_new" not in record and ("target" in record or "queries" in record)


def _is_bare_request(record: dict[str, Any]) -> bool:
    """Only the three keys that editvc and EasyEdit share, and no placeholder: EasyEdit's."""
    prompt = record.get("prompt")
    return record.keys() == set(REQUIRED) and isinstance(prompt, str) and PLACEHOLDER not in prompt


def _template(prompt: str, subject: str, field: str) -> str:
    """The prompt with its literal subject made the placeholder.

    The last mention is taken, as a whole word if there is such a one: a subject's key is read at
    its last token, and the mention nearest to the answer is the one that has read all the rest.
    (Replacing every mention, as ROME does, leaves several placeholders.) A prompt that has a
    placeholder already keeps it, as in EasyEdit.
    """
    if PLACEHOLDER in prompt:
        return _with_one_placeholder(prompt, field)
    words = list(re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt))
    start = words[-1].start() if words else prompt.rfind(subject)
    if start < 0:
        at = prompt.casefold().find(subject.casefold())
        raise FactError(
            field,
            f"does not contain the subject {subject!r}, got {prompt!r}",
            hint=f"The prompt spells it {prompt[at : at + len(subject)]!r}."
            if at >= 0
            else f"Write the subject as it stands in the prompt, or {PLACEHOLDER} in its place.",
        )
    return prompt[:start] + PLACEHOLDER + prompt[start + len(subject) :]


def _with_one_placeholder(prompt: str, field: str) -> str:
    if prompt.count(PLACEHOLDER) != 1:
        raise FactError(
            field,
            f"needs exactly one {PLACEHOLDER} for the subject, got {prompt!r}",
            hint=f'Write it like "The capital of {PLACEHOLDER} is".',
        )
    return prompt


def _text(value: Any, field: str) -> str:
    """Text without the white space around it: the space before an answer is the tokenizer's."""
    if not isinstance(value, str):
        raise _wrong_type(field, "text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise FactError(
            field,
            f"holds half of a surrogate pair ({half}), which is no character",
            hint="Write the character itself, or both halves of its escape.",
        ) from error
    stripped = value.strip()
    if not stripped:
        raise FactError(field, "is empty", hint="Fill it in; an optional field can be left out.")
    return stripped


def _first_text(value: Any, field: str) -> str | None:
    """A text, or the first of a list (of lists) of equivalent ones."""
    while isinstance(value, list) and value:
        value, field = value[0], field + "[0]"
    return None if value is None or value == [] else _text(value, field)


def _known(answer: str | None) -> str | None:
    return None if answer == NO_ANSWER else answer


def _inner(value: Any, path: str) -> _Fields:
    if not isinstance(value, dict):
        raise _wrong_type(path, "an object", value)
    return _Fields(value, path + ".")


def _wrong_type(field: str, wanted: str, value: Any) -> FactError:
    return FactError(
        field,
        f"must be {wanted}, got {type_name(value)}",
        hint=f"Write {wanted} there; an optional field can be left out.",
    )
