"""Elements of another method in the place of those there are, from what these keep.

Gates become located edits of their layer, located edits become gates of their highest layer; the
facts stay what they are, and nothing is searched for (:mod:`editvc.editing.kept_values`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from editvc.algebra.gated_edit import GatedEdit
from editvc.core.cut import quoted
from editvc.core.history import Entry
from editvc.core.ids import SlotId
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import recipe_class
from editvc.editing.kept_values import WHOLE, as_gates, as_located, reads_subjects, why_not_gated
from editvc.errors import EditvcError
from editvc.materialise.elements import Element
from editvc.session.choose_recipe import choose
from editvc.session.commit_plan import require_ready
from editvc.session.entries import store_elements
from editvc.session.session import Session
from editvc.session.take_inputs import with_inputs
from editvc.session.take_statistics import with_statistics


class CannotSolveAs(EditvcError):
    """A method whose elements cannot be made of what others keep."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"no edit can be made {name}'s from what it keeps: {reason}",
            hint="`editvc revert` takes facts out, and `editvc commit --method "
            f"{name}` makes them anew.",
        )


def require_target(name: str) -> None:
    """Raise :class:`CannotSolveAs` for a method that makes its elements of something else."""
    cls = recipe_class(name)
    if issubclass(cls, LocatedRecipe) and not reads_subjects(cls.ROWS[name]):
        raise CannotSolveAs(name, "its keys are those of the target's tokens, not of subjects")
    if not issubclass(cls, LocatedRecipe | GatedRecipe):
        raise CannotSolveAs(name, f"it makes a {cls.ROWS[name].element}")


def solvable_as(session: Session, name: str, entries: Iterable[Entry]) -> list[Entry]:
    """Those of the entries that can become ``name``'s: gates, or located edits with a value.

    What is of that kind already is none of them. Facts that a gate cannot have the value of are
    said (``session.remark``).
    """
    require_target(name)
    if issubclass(recipe_class(name), LocatedRecipe):
        elements = ((entry, session.materialiser.elements.element(entry.element)[1])
                    for entry in entries)  # fmt: skip
        return [entry for entry, element in elements if isinstance(element, GatedEdit)]
    found = []
    for recipe, group in session.materialiser.elements.by_recipe(entries):
        for entry in group:
            reason = _why_not(session, recipe, entry)
            if reason:
                question = session.repository.read_fact(entry.fact).question
                session.remark(f"{quoted(question)} stays as it is: {reason}")
            else:
                found.append(entry)
    return sorted(found)


def _why_not(session: Session, recipe: LocatedRecipe, entry: Entry) -> str:
    if recipe.row.edit_site not in WHOLE:
        return f"{recipe.method} keeps no value that an MLP is to add alone"
    request = session.repository.read_fact(entry.fact).request
    return why_not_gated(session.base_model(), request)


def solved_as(session: Session, name: str, entries: Sequence[Entry]) -> dict[SlotId, Entry]:
    """New entries by slot for those of :func:`solvable_as`; statistics put off are taken."""
    if issubclass(recipe_class(name), LocatedRecipe):
        return _located(session, name, entries)
    return _gated(session, name, entries)


def _located(session: Session, name: str, entries: Sequence[Entry]) -> dict[SlotId, Entry]:
    by_layer: dict[int, list[tuple[Entry, GatedEdit]]] = {}
    for entry in entries:
        _, gate = session.materialiser.elements.element(entry.element)
        assert isinstance(gate, GatedEdit), "solvable_as chose it"
        by_layer.setdefault(gate.layer, []).append((entry, gate))
    new: dict[SlotId, Entry] = {}
    for layer, pairs in sorted(by_layer.items()):
        recipe = choose(session, name, [f"layers=[{layer}]"]).recipe
        assert isinstance(recipe, LocatedRecipe), "its class is"
        recipe = with_statistics(session, recipe)
        require_ready(session, recipe)
        preconditioner = session.materialiser.preconditioners.of_layer(recipe, layer)
        elements = as_located([gate for _, gate in pairs], recipe, preconditioner)
        new |= _stored(session, recipe, [entry for entry, _ in pairs], elements)
    return new


def _gated(session: Session, name: str, entries: Sequence[Entry]) -> dict[SlotId, Entry]:
    maker, new = session.materialiser, dict[SlotId, Entry]()
    for old, group in maker.elements.by_recipe(entries):
        recipe = with_inputs(session, choose(session, name, [f"layers=[{old.layers[-1]}]"]).recipe)
        assert isinstance(recipe, GatedRecipe), "its class is"
        require_ready(session, recipe)
        requests = [session.repository.read_fact(entry.fact).request for entry in group]
        elements = as_gates(
            session.base_model(), requests, maker.elements.located(group), old,
            maker.preconditioners.of(old), recipe, maker.statistics.inputs_of(recipe),
        )  # fmt: skip
        new |= _stored(session, recipe, group, elements)
    return new


def _stored(
    session: Session, recipe: Recipe, entries: Sequence[Entry], elements: Sequence[Element]
) -> dict[SlotId, Entry]:
    """The elements, each with the one that it was made of in its record."""
    origins: list[dict[str, Any]] = [
        {"request": None, "made_of": entry.element} for entry in entries
    ]
    stored = store_elements(session, recipe, elements, origins)
    return {
        entry.slot: Entry(entry.slot, entry.fact, identifier)
        for entry, identifier in zip(entries, stored, strict=True)
    }
