"""Who else reacts to an edit: names on which it acts though it is not about them.

Told before a commit, in closed form: the inputs of all names are in the statistics, and a gate is a
product with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editvc.algebra.gated_edit import GatedEdit, Plateau
from editvc.algebra.input_statistics import LayerInputs
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Entry
from editvc.core.ids import short
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.subject_gates import Gate, find_gates, strangers
from editvc.errors import EditvcError
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
        return f"{quoted(self.fact.question)} also changes: {listed}" + (
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


def foreseen_reactions(
    session: Session, recipe: Recipe, facts: Sequence[Fact]
) -> tuple[Reaction, ...]:
    """The facts whose edits would act on names of the statistics by more than :data:`LIMIT`.

    Before anything is searched for: a few short passes make the gates. Of gates only, and where
    there are statistics: elsewhere nothing is said.
    """
    if not isinstance(recipe, GatedRecipe) or recipe.inputs is None or not facts:
        return ()
    inputs = session.materialiser.statistics.inputs_of(recipe)
    gates = find_gates(session.base_model(), [fact.request for fact in facts], recipe, inputs)
    return _reactions(facts, recipe, inputs, gates)


def reactions_of(
    session: Session, recipe: Recipe, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[Reaction, ...]:
    """:func:`foreseen_reactions` of edits that are made: no model is asked."""
    if not isinstance(recipe, GatedRecipe) or not facts:
        return ()
    inputs = session.materialiser.statistics.inputs_of(recipe)
    return _reactions(facts, recipe, inputs, _gated(session, entries))


def first_token_warnings(
    session: Session, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[str, ...]:
    """Facts whose prompts begin with a subject of one token, where no gate can open, in words."""
    return tuple(
        f"{quoted(fact.question)} begins with its subject, in one token: there the edit does not "
        "hold (every first token looks alike to this model); it does behind other words"
        for fact, edit in zip(facts, _gated(session, entries), strict=False)
        if edit.figures.get("first_token")
    )


def _gated(session: Session, entries: Sequence[Entry]) -> list[GatedEdit]:
    """The gated edits of entries of one recipe: all of them, or none."""
    elements = (session.materialiser.elements.element(entry.element)[1] for entry in entries)
    return [one for one in elements if isinstance(one, GatedEdit)]


def _reactions(
    facts: Sequence[Fact],
    recipe: GatedRecipe,
    inputs: LayerInputs,
    gates: Sequence[Gate | GatedEdit],
) -> tuple[Reaction, ...]:
    shape = Plateau(recipe.slope, recipe.rise)
    found = []
    for fact, gate in zip(facts, gates, strict=True):
        places = strangers(inputs.names, [fact.subject])
        shares = shape.arriving(inputs.inputs[places], gate).tolist()
        ranked = sorted(zip(shares, places, strict=True), reverse=True)
        names = tuple((inputs.names[place], share) for share, place in ranked if share > LIMIT)
        if names:
            found.append(Reaction(fact, names))
    return tuple(found)
