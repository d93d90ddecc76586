"""What tells good versions from bad ones: an answer, a figure, or a command of the user's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from editvc.core.bisection import Verdict
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.invisible import require_visible
from editvc.errors import EditvcError
from editvc.evaluation.probes import forced, perplexity_of
from editvc.evaluation.scores import answers, answers_correctly, locality_answers, score
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel
from editvc.porcelain.candidates import Candidate, Judge, Judged
from editvc.porcelain.export import NotInWeights
from editvc.porcelain.export_hf import write_model
from editvc.porcelain.keep_width import text_rows

SKIPPED = 125
"""The exit code of a command that cannot tell, as git has it."""

Runner = Callable[[Mapping[str, str]], int]
"""Runs the user's command with variables in its environment; returns its exit code."""


class CommandFailed(EditvcError):
    """The command of a search ended as none that judges: a signal, or 128 and more."""

    def __init__(self, code: int) -> None:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        super().__init__(
            f"the command {how}",
            hint="0 says good, 125 that it cannot tell, and other codes up to 127 say bad.",
        )
        self.code = code


class NothingToMeasure(EditvcError):
    """A metric of facts that have no prompts of its kind."""

    def __init__(self, metric: str) -> None:
        super().__init__(
            f"{metric} has nothing to ask: the facts have no prompts of its kind",
            hint="--facts FILE names facts with paraphrases, locality prompts or a target_true.",
        )


def by_answer(
    prompt: str, *, expect: str | None = None, reject: str | None = None, max_new_tokens: int = 16
) -> Judge:
    """Good is what answers ``prompt`` with ``expect`` in it, and without ``reject``."""
    require_visible(prompt=prompt, expect=expect, reject=reject)

    def judge(candidate: Candidate) -> Judged:
        with candidate.session.edited(candidate.tree) as lm:
            answer = generate(lm, prompt, max_new_tokens)
        wanted = expect is None or expect in answer
        unwanted = reject is not None and reject in answer
        good = wanted and not unwanted
        return Judged(Verdict.GOOD if good else Verdict.BAD, quoted(answer))

    return judge


def by_command(run: Runner) -> Judge:
    """What a command says of the exported model in the folder ``EDITVC_MODEL``.

    ``EDITVC_COMMIT`` is the id of the commit, or empty for a set that was never committed.
    """

    def judge(candidate: Candidate) -> Judged:
        books = candidate.session.materialiser.elements.in_codebooks(candidate.tree)
        if books:
            raise NotInWeights(candidate.name, len(books))
        with tempfile.TemporaryDirectory(prefix="editvc-bisect-") as folder:
            model = Path(folder) / "model"
            write_model(candidate.session, model, candidate.tree)
            code = run({"EDITVC_MODEL": str(model), "EDITVC_COMMIT": candidate.commit or ""})
        if not 0 <= code < 128:
            raise CommandFailed(code)
        verdict = {0: Verdict.GOOD, SKIPPED: Verdict.SKIP}.get(code, Verdict.BAD)
        return Judged(verdict, f"exit code {code}")

    return judge


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a model, and whether more of it is better."""

    higher_is_better: bool
    of: Callable[[LanguageModel, Sequence[Fact], Sequence[int]], float | None]


def _score(name: str) -> Measure:
    def of(lm: LanguageModel, facts: Sequence[Fact], base: Sequence[int]) -> float | None:
        value: float | None = getattr(score(lm, facts, base), name)
        return value

    return Measure(True, of)


def _said(lm: LanguageModel, facts: Sequence[Fact], _base: Sequence[int]) -> float | None:
    replies = answers(lm, facts)
    right = [answers_correctly(one, fact) for one, fact in zip(replies, facts, strict=True)]
    return 100.0 * sum(right) / len(right) if right else None


def _near(lm: LanguageModel, facts: Sequence[Fact], _base: Sequence[int]) -> float | None:
    asked = [(prompt, fact.target_true) for fact in facts for prompt in fact.locality]
    kept = forced(lm, [(prompt, true) for prompt, true in asked if true is not None])
    return 100.0 * sum(one.all_argmax for one in kept) / len(kept) if kept else None


def _perplexity(lm: LanguageModel, _facts: Sequence[Fact], _base: Sequence[int]) -> float | None:
    return perplexity_of(lm, text_rows(lm, 0))


MEASURES: Mapping[str, Measure] = {
    "perplexity": Measure(False, _perplexity),
    "said": Measure(True, _said),
    "near": Measure(True, _near),
    **{name: _score(name) for name in ("es", "ps", "ns", "s", "eff", "par", "spe", "avg")},
}
"""Of a model at work. ``perplexity`` is on the bundled text; all others are per cent of facts:
``said`` by generation, ``near`` the locality prompts whose true object is the first choice, and the
scores of ``eval``."""

FIGURES = ("delta_norm", "drift", "capacity")
"""Of the weights alone, as every commit keeps them: less is better."""

METRICS = (*MEASURES, *FIGURES)


def by_metric(name: str, limit: float, facts: Sequence[Fact] = ()) -> Judge:
    """Good is what keeps to a limit: at least that where more is better, else at most.

    ``name`` is one of :data:`METRICS`; ``facts`` are asked by those that ask some.
    """
    if name in FIGURES:
        return lambda candidate: _kept(
            candidate.session.materialiser.figures(candidate.tree)[name], limit, False
        )
    measure, base = MEASURES[name], list[list[int]]()

    def judge(candidate: Candidate) -> Judged:
        if not base:
            base.append(locality_answers(candidate.session.base_model(), facts))
        with candidate.session.edited(candidate.tree) as lm:
            value = measure.of(lm, facts, base[0])
        if value is None:
            raise NothingToMeasure(name)
        return _kept(value, limit, measure.higher_is_better)

    return judge


def _kept(value: float, limit: float, higher_is_better: bool) -> Judged:
    good = value >= limit if higher_is_better else value <= limit
    return Judged(Verdict.GOOD if good else Verdict.BAD, f"{value:.4g}")
