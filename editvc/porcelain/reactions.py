"""Who else reacts to an edit: names on which it acts though it is not about them.

Told before a commit, in closed form: the inputs of all names are in the statistics, and a gate is a
product with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editvc.algebra.gated_edit import Plateau
from editvc.core.facts import Fact
from editvc.core.ids import short
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.subject_gates import find_gates, strangers
from editvc.errors import EditvcError
from editvc.models.tokenization import first_place
from editvc.porcelain.entries import PlannedFact
from editvc.porcelain.session import Session

LIMIT = 0.1
"""From which share of an edit on a name counts as reacting."""

SHOWN = 5
"""How many names a line for people has."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """A fact whose edit acts on ``names``, each with the share of it that arrives there."""

    fact: Fact
    names: tuple[tuple[str, float], ...]

    @property
    def line(self) -> str:
        """In words."""
        listed = ", ".join(f"{name} ({share:.2f})" for name, share in self.names[:SHOWN])
        more = len(self.names) - SHOWN
        return f"{self.fact.question!r} also changes: {listed}" + (
            f" and {more} more" if more > 0 else ""
        )

    def to_json(self) -> dict[str, Any]:
        """For ``commit --json``."""
        return {"fact": self.fact.id, "names": [list(pair) for pair in self.names]}


class OthersReact(EditvcError):
    """``--strict``: an edit acts on names that it is not about. ``reactions`` are all of them."""

    def __init__(self, reactions: Sequence[Reaction]) -> None:
        first, more = reactions[0], len(reactions) - 1
        super().__init__(
            first.line + (f" (and {more} more such facts)" if more else ""),
            hint="Leave --strict out to commit all the same, or leave the fact "
            f"{short(first.fact.id)} out.",
        )
        self.reactions = tuple(reactions)


def reactions(session: Session, recipe: Recipe, facts: Sequence[Fact]) -> tuple[Reaction, ...]:
    """The facts whose edits would act on names of the statistics by more than :data:`LIMIT`.

    Of gates only, and where there are statistics: elsewhere nothing is said.
    """
    if not isinstance(recipe, GatedRecipe) or recipe.inputs is None or not facts:
        return ()
    inputs = session.materialiser.statistics.inputs_of(recipe)
    requests = [fact.request for fact in facts]
    shape = Plateau(recipe.slope, recipe.rise)
    found = []
    gates = find_gates(session.base_model(), requests, recipe, inputs)
    for fact, gate in zip(facts, gates, strict=True):
        places = strangers(inputs.names, [fact.subject])
        shares = shape.arriving(inputs.inputs[places], gate.filter, gate.threshold, gate.telling)
        ranked = sorted(zip(shares.tolist(), places, strict=True), reverse=True)
        names = tuple((inputs.names[place], share) for share, place in ranked if share > LIMIT)
        if names:
            found.append(Reaction(fact, names))
    return tuple(found)


def first_token_warnings(
    session: Session, recipe: Recipe, planned: Sequence[PlannedFact]
) -> tuple[str, ...]:
    """Facts whose prompts begin with a subject of one token, where no gate can open, in words."""
    if not isinstance(recipe, GatedRecipe):
        return ()
    prompts = [(one.fact, one.prompt) for one in planned if one.prompt is not None]
    if not prompts:
        return ()
    front = first_place(session.base_model().tokenizer)
    return tuple(
        f"{fact.question!r} begins with its subject, in one token: there the edit does not hold "
        "(every first token looks alike to this model); it does behind other words"
        for fact, prompt in prompts
        if prompt.subject < front
    )
