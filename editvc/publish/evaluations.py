"""Kept results of ``eval``, as the model-index of a card on the Hub has them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult

NAMES: Mapping[str, str] = {
    "generated": "edited facts that greedy generation says",
    "es": "ES, the new object is likelier than the true one",
    "ps": "PS, the same of paraphrases",
    "ns": "NS, neighbours keep their true object",
    "s": "S, harmonic mean of ES, PS and NS",
    "eff": "Eff, the new object is the first choice",
    "par": "Par, the same of paraphrases",
    "spe": "Spe, neighbours keep the base's first choice",
    "avg": "Avg, mean of Eff, Par and Spe",
}
"""What the figures of facts are called where no page of editvc is at hand."""
OF_FACTS = "edits"
OF_TASKS = ("abilities", "lm-eval:")
"""Suites whose figures are named ``task metric``, by how they begin."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one suite, by name; ``data`` is the digest of what was asked."""

    suite: str
    data: str
    figures: Mapping[str, float]


def eval_results(measured: Sequence[Measured]) -> list[EvalResult]:
    """A result for each figure of the suites that score facts or tasks; other suites have none.

    What was asked is the dataset, its digest the dataset's revision. Figures that are no number
    that JSON has are left out.
    """
    every = (result for one in measured for result in _of_suite(one))
    return [one for one in every if math.isfinite(one.metric_value)]


def _of_suite(one: Measured) -> Iterator[EvalResult]:
    if one.suite == OF_FACTS:
        for figure, value in one.figures.items():
            yield _result("editvc-facts", "facts asked of this model", one.data, figure, value,
                          NAMES.get(figure, figure))  # fmt: skip
    elif one.suite.startswith(OF_TASKS):
        for name, value in one.figures.items():
            task, _, metric = name.partition(" ")
            yield _result(task, task, one.data, metric, value, metric)


def _result(
    dataset: str, name: str, data: str, metric: str, value: float, metric_name: str
) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=dataset,
        dataset_name=name,
        dataset_revision=data,
        metric_type=metric,
        metric_name=metric_name,
        metric_value=round(value, 4),
    )
