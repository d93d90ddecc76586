"""How well each layer knows a subject, from passes over the base alone: nothing is searched for.

Two questions. What least squares writes for a key k, another key k' gets the share

    k^T C^-1 k' / k^T C^-1 k

(C: the second moment of ordinary keys). A good layer gives much of it to the subject in other
wordings, and little to other names in the same place. And a gate's filter, made of the subject in
some contexts, is to score the subject in other wordings above other names in the fact's prompt:
that parts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.gate_filter import FilterSolver, FilterWeights
from editvc.algebra.input_statistics import LayerInputs
from editvc.algebra.preconditioners import Preconditioner
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.subject_gates import strangers
from editvc.editing.subject_states import average_over_contexts
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import filled, first_place, subject_tokens, tokenize

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sightings:
    """Where a subject and names like it are seen: rows of tokens that end with the name.

    ``own`` are the request's prompt in some contexts, ``elsewhere`` other wordings of it, ``near``
    its prompt about other names, ``plain`` contexts of no relation. None ends at the first token of
    a text, which is like every other first token.
    """

    subject: str
    own: list[Row]
    elsewhere: list[Row]
    near: list[Row]
    plain: list[Row]

    @property
    def complete(self) -> bool:
        """Whether there is something of each kind to compare."""
        return all((self.own, self.elsewhere, self.near, self.plain))


def sightings(
    lm: LanguageModel,
    request: Request,
    wordings: Sequence[str],
    names: Sequence[str],
    contexts: Sequence[str],
    plain: Sequence[str],
) -> Sightings:
    """The rows of a request: ``wordings`` that do not hold its subject are left out.

    ``contexts`` stand before the prompt, ``plain`` have a ``{}`` for the subject. Raises the errors
    of :mod:`editvc.models.tokenization`.
    """
    front = first_place(lm.tokenizer)

    def cut(texts: Sequence[tuple[str, int]]) -> list[Row]:
        rows = [row.ids[: row.subject + 1] for row in subject_tokens(lm.tokenizer, texts)]
        return [row for row in rows if len(row) > front]

    (own,) = tokenize(lm.tokenizer, [request], contexts)
    held = [text for text in wordings if request.subject in text]
    ends = [text.index(request.subject) + len(request.subject) for text in held]
    return Sightings(
        request.subject,
        [row for one in own if len(row := one.ids[: one.subject + 1]) > front],
        cut(list(zip(held, ends, strict=True))),
        cut([filled(request.prompt, name) for name in names]),
        cut([filled(context, request.subject) for context in plain]),
    )


@dataclass(frozen=True, slots=True)
class KeyScore:
    """Of one layer's keys: the share of an edit that other wordings get, and that others get.

    The first in the mean, the second in the root of the mean square, over facts.
    """

    elsewhere: float
    near: float

    @property
    def selectivity(self) -> float:
        """How many times the second the first is."""
        return self.elsewhere / self.near if self.near else float("inf")

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {
            "elsewhere": self.elsewhere,
            "near": self.near,
            "selectivity": self.selectivity if self.near else None,
        }


def key_score(keys: Sequence[Mapping[str, Tensor]], preconditioner: Preconditioner) -> KeyScore:
    """From keys (n, v) of ``own``, ``elsewhere`` and ``near``, by fact.

    An edit's key is the mean of its own, the first of them, the bare prompt, half of it.
    """
    averaged = [average_over_contexts(one["own"].double(), len(one["own"])) for one in keys]
    own = torch.cat(averaged).T  # (v, n)
    white = preconditioner.apply_left(own)
    reading = preconditioner.apply_right(white.T) / leverage(white)[:, None]  # (n, v)
    shares = {
        part: [one[part].double() @ w for one, w in zip(keys, reading, strict=True)]
        for part in ("elsewhere", "near")
    }
    return KeyScore(
        float(torch.stack([one.mean() for one in shares["elsewhere"]]).mean()),
        float(torch.stack([one.square().mean() for one in shares["near"]]).mean().sqrt()),
    )


@dataclass(frozen=True, slots=True)
class GateScore:
    """Of one layer's filters: of how many facts in a hundred the subject is told from all others.

    ``margin`` is how far its lowest score lies above the highest of another name, in the mean; the
    subject itself scores 1.
    """

    parted: float
    margin: float

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {"parted": self.parted, "margin": self.margin}


def gate_score(
    inputs: Sequence[Mapping[str, Tensor]],
    subjects: Sequence[str],
    statistics: LayerInputs,
    recipe: GatedRecipe,
) -> GateScore:
    """From inputs (n, u) of ``plain``, ``elsewhere`` and ``near``, by fact.

    The filter is a gate's first (:mod:`.subject_gates`), which no twins were made for.
    """
    solver = FilterSolver(
        statistics.moment, FilterWeights(recipe.stranger_weight, recipe.subject_weight)
    )
    margins = []
    for seen, subject in zip(inputs, subjects, strict=True):
        plain = seen["plain"].double()
        others = statistics.inputs[strangers(statistics.names, [subject])]
        alone = others @ solver.filter(plain, plain[:0])
        similar = others[alone.topk(min(recipe.strangers, len(others))).indices]
        w = solver.filter(plain, similar)
        lowest = float((seen["elsewhere"].double() @ w).min())
        margins.append(lowest - float((seen["near"].double() @ w).max()))
    parted = sum(margin > 0 for margin in margins) / len(margins)
    return GateScore(100 * parted, sum(margins) / len(margins))
