"""Who else reacts to an edit: names on which it acts though it is not about them.

Told before a commit, in closed form. The inputs of all names are in the statistics of gates, and a
gate is a product with them; of a located edit the keys of names tell it, which take one pass
(:mod:`editvc.editing.name_responses`).
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
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.name_responses import name_responses
from editvc.editing.subject_gates import Gate, find_gates, strangers
from editvc.errors import EditvcError
from editvc.session.session import Session
from editvc.session.take_inputs import INPUTS
from editvc.statistics.bundle import sources_of
from editvc.statistics.entity_moments import read_entities
from editvc.statistics.input_moments import NAME_CONTEXT

LIMIT = 0.1
"""From which share of a gated edit on a name counts as reacting."""

LINEAR_LIMIT = 0.3
"""The same of a located edit, which reaches every name a little (docs/adr/0016)."""

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
            details={"reactions": [one.to_json() for one in reactions]},
        )
        self.reactions = tuple(reactions)


def foreseen_reactions(
    session: Session, recipe: Recipe, facts: Sequence[Fact]
) -> tuple[Reaction, ...]:
    """The facts whose edits would act on names of the list by more than a limit.

    Before anything is searched for: a few short passes make gates, or read keys. Gates need their
    statistics; of methods that neither locate by keys nor make gates nothing is said.
    """
    if not facts:
        return ()
    if isinstance(recipe, LocatedRecipe):
        return _linear(session, recipe, facts)
    if not isinstance(recipe, GatedRecipe) or recipe.inputs is None:
        return ()
    inputs = session.materialiser.statistics.inputs_of(recipe)
    gates = find_gates(session.base_model(), [fact.request for fact in facts], recipe, inputs)
    return _reactions(facts, recipe, inputs, gates)


def reactions_of(
    session: Session, recipe: Recipe, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[Reaction, ...]:
    """:func:`foreseen_reactions` of gated edits that are made: no model is asked.

    Of others a dry run tells: to read the keys of all names takes longer than to locate facts.
    """
    if not isinstance(recipe, GatedRecipe) or not facts:
        return ()
    inputs = session.materialiser.statistics.inputs_of(recipe)
    return _reactions(facts, recipe, inputs, _gated(session, entries))


def first_token_warnings(
    session: Session, facts: Sequence[Fact], entries: Sequence[Entry]
) -> tuple[str, ...]:
    """Facts that do not hold where their subject, one token, begins a text, in words."""
    return tuple(
        f"{quoted(fact.question)}: where {quoted(fact.subject)} begins a text the edit does not "
        "hold (this model sees that token too much like others there); it does behind other words"
        for fact, edit in zip(facts, _gated(session, entries), strict=False)
        if edit.figures.get("lost_at_start")
    )


def _gated(session: Session, entries: Sequence[Entry]) -> list[GatedEdit]:
    """The gated edits of entries of one recipe: all of them, or none."""
    elements = (session.materialiser.elements.element(entry.element)[1] for entry in entries)
    return [one for one in elements if isinstance(one, GatedEdit)]


def _linear(session: Session, recipe: LocatedRecipe, facts: Sequence[Fact]) -> tuple[Reaction, ...]:
    if recipe.row.edit_site is None:  # its keys are those of the target's tokens, not of subjects
        return ()
    if recipe.statistics is None:  # they were put off, and nothing is taken for a preview
        return ()
    names, requests = _names(session), [fact.request for fact in facts]
    preconditioners = session.materialiser.preconditioners.of(recipe)
    responses = name_responses(
        session.base_model(), requests, recipe, preconditioners, names, NAME_CONTEXT
    )
    found = []
    for fact, shares in zip(facts, responses, strict=True):
        places = strangers(names, [fact.subject])
        found.append(_reaction(fact, names, places, shares[places].tolist(), LINEAR_LIMIT))
    return tuple(one for one in found if one is not None)


def _names(session: Session) -> Sequence[str]:
    """The names of the statistics in force for gates, else those of the bundled list."""
    in_force = session.repository.config.get(INPUTS)
    if in_force is not None:
        return session.materialiser.statistics.inputs(in_force).names
    bundled = read_entities(sources_of().entities)
    return tuple(dict.fromkeys(entity.name for entity in bundled))


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
        found.append(_reaction(fact, inputs.names, places, shares, LIMIT))
    return tuple(one for one in found if one is not None)


def _reaction(
    fact: Fact,
    names: Sequence[str],
    places: Sequence[int],
    shares: Sequence[float],
    limit: float,
) -> Reaction | None:
    """The names at ``places`` whose share is over the limit, the largest first."""
    ranked = sorted(zip(shares, places, strict=True), reverse=True)
    reacting = tuple((names[place], share) for share, place in ranked if share > limit)
    return Reaction(fact, reacting) if reacting else None
