"""``trace``: which states of a revision's model carry what it knows (causal tracing)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact, Request
from editvc.errors import EditvcError
from editvc.evaluation.causal_tracing import (
    LAST,
    LAST_SUBJECT,
    AverageTrace,
    CausalTrace,
    averaged,
    causal_trace,
    subject_deviation,
)
from editvc.evaluation.probes import first_tokens, predicts_target
from editvc.models.language_model import LanguageModel
from editvc.session.fact_input import Facts, sourced
from editvc.session.fact_lengths import require_room
from editvc.session.recording import Skipped
from editvc.session.session import Session
from editvc.session.trees import tree_at

Requests = tuple[list[Request], tuple[Skipped, ...]]


class NothingKnown(EditvcError):
    """The model says none of the facts that it was to be traced for."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """How subjects are corrupted: ``noise`` times the deviation of their tokens' embeddings."""

    noise: float = 3.0
    samples: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TraceReport:
    """The traces of one revision, and their average by the role of tokens.

    ``deviation`` is that of the noise. ``skipped`` are facts that the model does not know.
    """

    at: str
    kind: str
    corruption: Corruption
    deviation: float
    traces: tuple[CausalTrace, ...]
    average: AverageTrace
    skipped: tuple[Skipped, ...]

    @property
    def curves(self) -> dict[str, list[float]]:
        """Effects by layer where the paper finds them: the subject's last token, and the last."""
        return {
            role: self.average.of(role).tolist()
            for role in (LAST_SUBJECT, LAST)
            if role in self.average.roles
        }

    def to_json(self) -> dict[str, Any]:
        """The contract of ``trace --json``; effects are lists by token (or role), by layer."""
        return {
            "at": self.at,
            "kind": self.kind,
            "window": self.traces[0].window,
            "deviation": self.deviation,
            "samples": self.corruption.samples,
            "seed": self.corruption.seed,
            "traces": [_trace_json(one) for one in self.traces],
            "average": {
                "facts": self.average.count,
                **_effects_json(self.average),
                "roles": list(self.average.roles),
            },
            "skipped": [one.to_json() for one in self.skipped],
        }


def _trace_json(one: CausalTrace) -> dict[str, Any]:
    return {
        "subject": one.request.subject,
        "prompt": one.request.prompt,
        "target": one.request.target,
        **_effects_json(one),
        "tokens": list(one.tokens),
        "subject_tokens": list(one.subject),
    }


def _effects_json(one: CausalTrace | AverageTrace) -> dict[str, Any]:
    return {
        "clean": one.clean,
        "corrupted": one.corrupted,
        "total_effect": one.total_effect,
        "effects": one.effects.tolist(),
    }


def trace_facts(
    session: Session,
    facts: Facts,
    *,
    at: str,
    kind: str,
    corruption: Corruption | None,
) -> TraceReport:
    """Trace what the model of a revision says of facts: their true object or their new one.

    Facts of which it says neither are left out, as in the paper. Raises :class:`NothingKnown` where
    that leaves none.
    """
    records = sourced(facts)
    session.base_model()
    require_room(session, records)
    chosen = [one.fact for one in records if one.duplicate_of is None]

    def choose(lm: LanguageModel) -> Requests:
        return known(lm, chosen)

    return _traced(session, choose, at, kind, corruption or Corruption())


def trace_prompt(
    session: Session,
    prompt: str,
    subject: str,
    target: str | None,
    *,
    at: str,
    kind: str,
    corruption: Corruption | None,
) -> TraceReport:
    """Trace one prompt; without a target, for the token that the model says first."""

    def choose(lm: LanguageModel) -> Requests:
        question = Request(subject, prompt, "").question
        spoken = target or lm.tokenizer.decode(first_tokens(lm, [question])).strip()
        return [Request(subject, prompt, spoken)], ()

    return _traced(session, choose, at, kind, corruption or Corruption())


def known(lm: LanguageModel, facts: Sequence[Fact]) -> Requests:
    """A request for each fact that the model knows, with the object that it says; and the others.

    Raises :class:`NothingKnown` where it knows none.
    """
    pairs = [
        (fact, target) for fact in facts for target in (fact.target_true, fact.target_new) if target
    ]
    requests = [Request(fact.subject, fact.prompt, target) for fact, target in pairs]
    answers = zip(pairs, requests, predicts_target(lm, requests), strict=True)
    chosen: dict[int, Request] = {}
    for (fact, _), request, yes in answers:
        if yes:
            chosen.setdefault(id(fact), request)
    missed = [fact for fact in facts if id(fact) not in chosen]
    if not chosen:
        raise NothingKnown(
            f"the model says neither the true nor the new object of {_counted(len(facts))}",
            hint="Trace what it does say: `editvc trace --prompt 'The capital of {} is' "
            "--subject France`.",
        )
    words = "is not known: the model says neither of its objects"
    return list(chosen.values()), tuple(Skipped(fact, words) for fact in missed)


def _counted(facts: int) -> str:
    return "the fact" if facts == 1 else f"any of {facts} facts"


def _traced(
    session: Session,
    choose: Callable[[LanguageModel], Requests],
    at: str,
    kind: str,
    corruption: Corruption,
) -> TraceReport:
    traces = []
    with session.edited(tree_at(session, at)) as lm:
        requests, skipped = choose(lm)
        deviation = corruption.noise * subject_deviation(lm, requests)
        for request in requests:
            traces.append(
                causal_trace(
                    lm, request, deviation=deviation, kind=kind,
                    samples=corruption.samples, seed=corruption.seed,
                )
            )  # fmt: skip
            if session.progress is not None:
                session.progress("facts", len(traces), len(requests))
    return TraceReport(
        at=at,
        kind=kind,
        corruption=corruption,
        deviation=deviation,
        traces=tuple(traces),
        average=averaged(traces),
        skipped=skipped,
    )
