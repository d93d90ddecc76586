"""Edits that may disable the model, told before a commit: their chance, and what it is made of.

An edit that is made has its figures (:mod:`editvc.materialise.lone_edits`). One that is still to be
located has those of the largest that its recipe allows: what it may become, and not what it will.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.cut import quoted
from editvc.core.disabling import shipped_score
from editvc.core.facts import Fact
from editvc.core.history import Entry
from editvc.core.ids import ObjectId, short
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.largest_edits import largest_edits
from editvc.errors import EditvcError
from editvc.evaluation.objectives import objectives
from editvc.materialise.elements import Element
from editvc.materialise.lone_edits import lone_edits
from editvc.models.tokenization import tokenize
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A fact, the ``chance`` that its edit disables the model, and the ``figures`` behind it.

    ``made`` says whether they are those of the edit, or of the largest one it may become.
    """

    fact: Fact
    chance: float
    figures: Mapping[str, float]
    made: bool

    @property
    def line(self) -> str:
        """In words."""
        figures = ", ".join(f"{name} {value:.3g}" for name, value in self.figures.items())
        may = "may" if self.made else "may become one that may"
        return (
            f"the edit of {quoted(self.fact.question)} (fact {short(self.fact.id)}) {may} disable "
            f"the model: chance {self.chance:.0%} ({figures})"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``commit --json``."""
        return {
            "fact": self.fact.id,
            "chance": self.chance,
            "figures": dict(self.figures),
            "made": self.made,
        }


class Disabling(EditvcError):
    """``--strict``: edits that may disable the model. ``foreseen`` are all of them."""

    def __init__(self, foreseen: Sequence[Foreseen]) -> None:
        first, more = foreseen[0], len(foreseen) - 1
        super().__init__(
            first.line + (f" (and {more} more such edits)" if more else ""),
            hint="Leave --strict out to commit all the same; a smaller clamp_norm_factor, or other "
            "layers, make a smaller edit. `health.disabling_warn` is the limit.",
            details={"foreseen": [one.to_json() for one in foreseen]},
        )
        self.foreseen = tuple(foreseen)


def foreseen_edits(
    session: Session, recipe: Recipe, facts: Sequence[tuple[Fact, ObjectId | None]]
) -> tuple[Foreseen, ...]:
    """What is foreseen of facts, each with the element that it has in the store, if any.

    In the order given. Nothing is searched for. Of facts that are still to be made by a method
    other than a located one nothing is known, nor of gates and codebooks, which leave the weights.
    """
    elements: dict[Fact, Element] = {
        fact: session.materialiser.elements.element(element)[1]
        for fact, element in facts
        if element is not None
    }
    made = {*elements}
    rest = [fact for fact, element in facts if element is None]
    if rest and isinstance(recipe, LocatedRecipe) and _ready(recipe):
        edits = largest_edits(
            session.base_model(), [fact.request for fact in rest], recipe,
            session.materialiser.preconditioners.of(recipe),
        )  # fmt: skip
        elements |= dict(zip(rest, edits, strict=False))
    aims = _aims(session, [fact for fact in rest if fact in elements])
    known = [fact for fact, _ in facts if fact in elements]
    alone = lone_edits(session.materialiser, recipe, [elements[fact] for fact in known])
    figures = {
        fact: one.to_json() | aims.get(fact, {})
        for fact, one in zip(known, alone, strict=True)
        if one is not None
    }
    return tuple(
        Foreseen(fact, shipped_score().chance(found), found, fact in made)
        for fact, found in figures.items()
    )


def _aims(session: Session, facts: Sequence[Fact]) -> dict[Fact, dict[str, float]]:
    """The perplexity of the targets of facts on the base: what a search would have told."""
    if not facts:
        return {}
    lm = session.base_model()
    rows = [row for (row,) in tokenize(lm.tokenizer, [fact.request for fact in facts])]
    found = objectives(lm, rows)
    return {fact: {"objective": one.perplexity} for fact, one in zip(facts, found, strict=True)}


def made_edits(
    session: Session, recipe: Recipe, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[Foreseen, ...]:
    """:func:`foreseen_edits` of facts whose edits are made: no model is asked."""
    pairs = zip(facts, (entry.element for entry in entries), strict=True)
    return foreseen_edits(session, recipe, [*pairs])


def disabling(session: Session, foreseen: Iterable[Foreseen]) -> tuple[Foreseen, ...]:
    """Those past ``health.disabling_warn``, the likeliest first."""
    limit = session.repository.config.health.disabling_warn
    past = [one for one in foreseen if one.chance > limit]
    return tuple(sorted(past, key=lambda one: -one.chance))


def _ready(recipe: LocatedRecipe) -> bool:
    """Whether what the recipe's solver weighs against is there: it may have been put off."""
    return "statistics" not in recipe.row.needs or recipe.statistics is not None
