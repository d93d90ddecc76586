"""The papers' scores by name. No tensors here: what was measured before is read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "greedy generation, natural stopping": ("contains", "begins", "exact"),
    "teacher forcing, probabilities compared (ROME, MEMIT)": ("es", "ps", "ns", "s"),
    "teacher forcing, first choices (D4S)": ("eff", "par", "spe", "avg"),
}
"""How each column is measured."""

MEASURED = ("es", "ps", "ns", "eff", "par", "spe")
"""The columns that are shares of prompts; S and Avg are made of them."""

Outcomes = Mapping[str, Sequence[bool]]
"""What came of the prompts of one fact, column by column; empty where it holds none of a kind."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Per cent, or ``None`` where the facts hold no prompt of that kind.

    * ``es``, ``ps``: rewriting and paraphrase prompts on which the mean log-probability of the new
      object's tokens exceeds the true object's; ``ns``: locality prompts on which the true
      object's exceeds the new one's; ``s``: their harmonic mean (ROME, MEMIT).
    * ``eff``, ``par``: prompts on which every token of the new object is the first choice under
      teacher forcing; ``spe``: locality prompts whose first token is the base model's; ``avg``:
      their mean (D4S).
    """

    es: float | None
    ps: float | None
    ns: float | None
    s: float | None
    eff: float | None
    par: float | None
    spe: float | None
    avg: float | None

    def to_json(self) -> dict[str, float | None]:
        """By name, in the order of the papers' tables."""
        return asdict(self)

    @classmethod
    def of(cls, rows: Sequence[Outcomes]) -> Scores:
        """The scores of some facts: shares of all their prompts together."""
        es, ps, ns, eff, par, spe = (
            share([each for row in rows for each in row.get(name, ())]) for name in MEASURED
        )
        return cls(
            es=es, ps=ps, ns=ns, s=harmonic_mean(es, ps, ns), eff=eff, par=par, spe=spe,
            avg=mean(eff, par, spe),
        )  # fmt: skip


def share(outcomes: Sequence[bool]) -> float | None:
    """Per cent that are true; None of nothing."""
    return 100.0 * sum(outcomes) / len(outcomes) if outcomes else None


def mean(*values: float | None) -> float | None:
    """Of all values; None where one is missing."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None


def harmonic_mean(*values: float | None) -> float | None:
    """Of all values; None where one is missing, 0 where one is."""
    if any(value is None for value in values):
        return None
    present = [value for value in values if value is not None]
    return len(present) / sum(1 / value for value in present) if all(present) else 0.0
