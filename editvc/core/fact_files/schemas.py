"""The schemas that facts come in: one function a schema, from a JSON object to facts.

A schema is recognised by its keys alone. editvc's own and free questions are strict (an unknown
key is an error); records of datasets carry much that editvc has no use for, so only the keys read
here are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, get_args

from editvc.core.fact_files.choices import Choices, Target, TargetChoiceError, subject_of
from editvc.core.fact_files.exchanges import CHATS, alpaca, chat, refuse_unread, unread
from editvc.core.fact_files.fields import STAND_IN, Fields
from editvc.core.facts import EACH_ANSWERED, ONE_EACH, PLACEHOLDER, Fact, FactError
from editvc.core.invisible import WAY_OUT, unseen

NO_ANSWER = "<|endoftext|>"
"""What ROME's and EasyEdit's loaders write for an old answer that they do not know."""

OWN_KEYS = tuple(field.name for field in fields(Fact))
REQUIRED = ("subject", "prompt", "target_new")
QUESTION_KEYS = ("question", "answer", *(key for key in OWN_KEYS if key != "prompt"))
_FASTEDIT_KEYS = ("subject", "prompt", "target", "queries")


def facts_of(record: dict[str, Any], choices: Choices) -> tuple[list[Fact], list[FactError]]:
    """The facts of one record, in whichever schema it is, or everything that is wrong in it."""
    source = Fields(record)
    facts = list(_schema_of(record)(source, choices))
    for key in record:
        if (hidden := unseen(key)) is not None and not source.refused(key):
            source.refuse(key, f"is a key that {hidden.problem}", WAY_OUT)
    return ([], source.problems) if source.problems else (facts, [])


def _schema_of(record: dict[str, Any]) -> _Schema:
    if unread(record) is not None:
        return refuse_unread
    for marks, read in _FOREIGN:
        if not marks.isdisjoint(record):
            return read
    if _is_question(record):
        return _question
    if isinstance(record.get("locality"), dict) or _is_bare_request(record):
        return _easyedit
    return _fastedit if _is_fastedit(record) else _own


def is_record(whole: dict[str, Any]) -> bool:
    """Whether an object is a record itself, rather than a wrapper of a list of records."""
    return (
        any(key in whole for key in REQUIRED)
        or _is_question(whole)
        or unread(whole) is not None
        or any(not marks.isdisjoint(whole) for marks, _ in _FOREIGN)
    )


def _own(source: Fields, _: Choices) -> Iterator[Fact]:
    source.refuse_others(OWN_KEYS)
    yield _with_own_fields(
        source,
        subject=source.text("subject"),
        prompt=source.prompt(),
        target_new=source.text("target_new"),
    )


def _question(source: Fields, choices: Choices) -> Iterator[Fact]:
    source.refuse_others(QUESTION_KEYS)
    subject = subject_of(source, source.record.get("question"), choices)
    if "answer" in source.record and "target_new" in source.record:
        source.refuse("answer", "stands beside target_new, which means the same", "Keep one.")
    yield _with_own_fields(
        source,
        subject=subject,
        prompt=source.template("question", subject),
        target_new=source.text("target_new" if "target_new" in source.record else "answer"),
    )


def _with_own_fields(source: Fields, *, subject: str, prompt: str, target_new: str) -> Fact:
    hops, answers = source.whole_prompts("hops"), source.texts("hop_answers")
    if len(hops) != len(answers):
        source.refuse("hop_answers", ONE_EACH, EACH_ANSWERED)
        hops = answers = ()
    return Fact(
        subject,
        prompt,
        target_new,
        target_true=source.optional_text("target_true"),
        relation=source.optional_text("relation"),
        paraphrases=source.whole_prompts("paraphrases"),
        locality=source.whole_prompts("locality"),
        tags=source.texts("tags"),
        source=source.optional_text("source"),
        hops=hops,
        hop_answers=answers,
        valid_until=source.optional_day("valid_until"),
    )


def _counterfact_or_mquake(source: Fields, _: Choices) -> Iterator[Fact]:
    """One rewrite (CounterFact) or a list of them (MQuAKE): both use the same object for it."""
    rewrite = source.record.get("requested_rewrite")
    if not isinstance(rewrite, list):
        yield _rewrite(
            source.inner("requested_rewrite"),
            paraphrases=source.texts("paraphrase_prompts"),
            locality=_neighbours(source),
        )
        return
    if not rewrite:
        source.refuse(
            "requested_rewrite",
            "is an empty list: there is no edit in it",
            "Write at least one edit there, or take the record out.",
        )
    for number, edit in enumerate(source.inners("requested_rewrite"), 1):
        question = edit.optional_text("question")
        fact = _rewrite(edit, paraphrases=() if question is None else (question,), locality=())
        yield _with_hops(source, fact) if number == len(rewrite) else fact


def _with_hops(source: Fields, fact: Fact) -> Fact:
    """The last edit of a chain with the questions that ask for all of it."""
    answer = source.optional_text("new_answer")
    questions = source.texts("questions") if answer is not None else ()
    return replace(fact, hops=questions, hop_answers=(answer or "",) * len(questions))


def _rewrite(edit: Fields, *, paraphrases: tuple[str, ...], locality: tuple[str, ...]) -> Fact:
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


def _neighbours(source: Fields) -> tuple[str, ...]:
    """Prompts, or objects with a prompt, as converted records have them."""
    key = "neighborhood_prompts"
    items = source.record.get(key)
    if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
        return tuple(item.text("prompt") for item in source.inners(key))
    return source.texts(key)


def _easyedit(source: Fields, _: Choices) -> Iterator[Fact]:
    subject = source.text("subject")
    yield Fact(
        subject=subject,
        prompt=source.template("prompt", subject),
        target_new=source.text("target_new"),
        target_true=_known(source.first_text("ground_truth")),
        paraphrases=source.text_or_texts("rephrase_prompt"),
        locality=_easyedit_locality(source),
    )


def _easyedit_locality(source: Fields) -> tuple[str, ...]:
    """All prompts of all named groups: ``{name: {prompt, ground_truth}}``, or lists of those."""
    prompts = list(source.text_or_texts("locality_prompt"))
    if not source.has("locality"):
        return tuple(prompts)
    groups = source.inner("locality")
    for name, group in groups.record.items():
        members = groups.inners(name) if isinstance(group, list) else [groups.inner(name)]
        for member in members:
            prompts += member.text_or_texts("prompt")
    return tuple(prompts)


def _zsre(source: Fields, choices: Choices) -> Iterator[Fact]:
    subject = source.text("subject")
    prompt = source.template("src", subject)
    answers = source.texts("answers")
    true = answers[0] if answers else STAND_IN
    if choices.target not in get_args(Target):
        source.problems.append(TargetChoiceError())
    elif choices.target == "answers" and not answers and not source.refused("answers"):
        source.refuse(
            "answers",
            "is missing or empty, and --target answers asks for it",
            "Fill it in, take the record out, or choose --target alt.",
        )
    yield Fact(
        subject=subject,
        prompt=prompt,
        target_new=source.text("alt") if choices.target == "alt" else true,
        target_true=true if choices.target == "alt" and answers else None,
        paraphrases=source.text_or_texts("rephrase"),
        locality=source.text_or_texts("loc"),
    )


def _ultraeditbench(source: Fields, _: Choices) -> Iterator[Fact]:
    subject = source.text("subject")
    yield Fact(
        subject=subject,
        prompt=source.template("prompt", subject),
        target_new=source.text("ans"),
        paraphrases=source.text_or_texts("rephrase_prompt"),
        locality=source.text_or_texts("loc"),
    )


def _fastedit(source: Fields, _: Choices) -> Iterator[Fact]:
    source.refuse_others(_FASTEDIT_KEYS)
    yield Fact(
        subject=source.text("subject"),
        prompt=source.prompt(),
        target_new=source.text("target"),
        paraphrases=source.texts("queries"),
    )


_Schema = Callable[[Fields, Choices], Iterator[Fact]]
_FOREIGN: tuple[tuple[frozenset[str], _Schema], ...] = (
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
    (frozenset(CHATS), chat),
    (frozenset(("instruction",)), alpaca),
)
"""Which keys give a schema away, first match first."""


def _is_question(record: dict[str, Any]) -> bool:
    return "question" in record or ("answer" in record and "prompt" not in record)


def _is_fastedit(record: dict[str, Any]) -> bool:
    """Beside ``target_new`` these keys are mistakes in a record of editvc's own."""
    return "target_new" not in record and ("target" in record or "queries" in record)


def _is_bare_request(record: dict[str, Any]) -> bool:
    """Only the three keys that editvc and EasyEdit share, and no placeholder: EasyEdit's."""
    prompt = record.get("prompt")
    return record.keys() == set(REQUIRED) and isinstance(prompt, str) and PLACEHOLDER not in prompt


def _known(answer: str | None) -> str | None:
    return None if answer == NO_ANSWER else answer
