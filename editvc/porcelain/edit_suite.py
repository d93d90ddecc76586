"""``--suite edits``: facts asked of a revision, by generation and by the papers' protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.evaluation.bootstrap import average, harmonic, intervals
from editvc.evaluation.score_columns import MEASURED, PROTOCOLS, Outcomes, Scores, share
from editvc.evaluation.scores import answers_correctly, base_outcomes, outcomes
from editvc.evaluation.spoken import (
    GROUPS,
    WAYS,
    SpokenFact,
    columns,
    locality_sentences,
    spoken,
)
from editvc.porcelain.edits_result import FailedFact, NothingToEvaluate
from editvc.session.fact_lengths import within_positions
from editvc.session.session import Session

SPOKEN = tuple(f"{group}.{way}" for group in GROUPS for way in WAYS)


def measure_base(session: Session, facts: Sequence[Fact], max_new_tokens: int) -> dict[str, Any]:
    """What the unedited model gives for these facts: what the model of a revision is held against.

    Raises :class:`NothingToEvaluate` where every fact is longer than the model takes.
    """
    kept = within_positions(session, facts)
    if not kept:
        raise NothingToEvaluate("the questions of all facts are longer than the model takes")
    base = session.base_model()
    measured = base_outcomes(base, kept)
    return {
        "facts": [fact.to_record() for fact in kept],
        "first_tokens": measured.first_tokens,
        "objectives": [one.to_json() for one in measured.objectives],
        "sentences": locality_sentences(base, kept, max_new_tokens),
        "scores": Scores.of(measured.rows).to_json(),
    }


def measure_edits(
    session: Session,
    tree: Tree,
    facts: Sequence[Fact],
    base: Mapping[str, Any],
    max_new_tokens: int,
) -> dict[str, Any]:
    """The record of :class:`editvc.porcelain.edits_result.Evaluation`; ``base`` is what
    :func:`measure_base` gave for the same facts.
    """
    kept = [Fact.from_json(record) for record in base["facts"]]  # without prompts that are too long
    with session.edited(tree) as lm:
        said = spoken(lm, kept, base["sentences"], max_new_tokens)
        forced = outcomes(lm, kept, base["first_tokens"])
    rest = iter(facts)
    whole = [next(fact for fact in rest if fact.request == one.request) for one in kept]
    return summary(whole, said, forced, base["objectives"]) | {
        "base": base["scores"],
        "skipped": len(facts) - len(kept),
    }


def summary(
    facts: Sequence[Fact],
    said: Sequence[SpokenFact],
    forced: Sequence[Outcomes],
    objectives: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """Totals with their intervals, and every fact.

    ``objectives`` are those of the facts on the base (:class:`editvc.evaluation.objectives`).
    """
    rows = [{**columns(one), **each} for one, each in zip(said, forced, strict=True)]
    answers = [one["prompt"][0].answer for one in said]
    failed = [
        FailedFact(fact, answer)
        for fact, answer in zip(facts, answers, strict=True)
        if not answers_correctly(answer, fact)
    ]
    bounds = intervals(
        rows,
        [*SPOKEN, *MEASURED],
        {"s": harmonic("es", "ps", "ns"), "avg": average("eff", "par", "spe")},
    )
    pooled = {name: [each for row in rows for each in row[name]] for name in SPOKEN}
    return {
        "suite": "edits",
        "facts": len(facts),
        "generated": 100.0 * (len(facts) - len(failed)) / len(facts),
        "generation": {
            group: {way: share(pooled[f"{group}.{way}"]) for way in WAYS} for group in GROUPS
        },
        **Scores.of(forced).to_json(),
        "objective": {
            name: median(one[name] for one in objectives) for name in ("perplexity", "tokens")
        },
        "intervals": {name: None if one is None else [*one] for name, one in bounds.items()},
        "protocols": {name: [*names] for name, names in PROTOCOLS.items()},
        "unsaid": [one.to_json() for one in failed],
        "per_fact": [
            {
                "fact": fact.id,
                "question": fact.question,
                "target_new": fact.target_new,
                "answer": answer,
                "objective": {**objective},
                "scores": {name: share(row[name]) for name in (*SPOKEN, *MEASURED)},
                "said": {group: [each.to_json() for each in one[group]] for group in GROUPS},
            }
            for fact, answer, row, one, objective in zip(
                facts, answers, rows, said, objectives, strict=True
            )
        ],
    }
