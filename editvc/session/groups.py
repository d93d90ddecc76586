"""Which gated edits of a tree are made together: those of one subject, by one recipe.

Values of two facts, each found as if it were the only one, push each other where both stand at one
subject. So facts of one subject that are live together share an element that was made for all of
them, and it takes the place of what each of them has. It is found by the requests that it was made
for, whatever the order in which they came, and made once. docs/adr/0043-facts-of-one-subject.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from editvc.algebra.gated_edit import GatedEdit
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.gated import make_shared
from editvc.materialise.elements import group_digest
from editvc.materialise.make_elements import GatheredResources

if TYPE_CHECKING:
    from editvc.session.session import Session

Members = Mapping[str, Entry]
"""Entries by the digests of the requests that their elements answer."""


def groups_after(
    session: Session, before: Tree, after: Tree, changes: Mapping[SlotId, Entry | None]
) -> tuple[ObjectId, ...]:
    """The groups of ``after``: those of ``before``, and of the subjects of ``changes`` anew.

    Loads the model where one is still to be made.
    """
    edits = session.repository.edits_of(before)
    touched = [entry for slot in changes for entry in (edits.get(slot), changes[slot]) if entry]
    subjects = _subjects(session, touched)
    if not subjects:
        return before.groups
    gone = {
        request
        for subject in subjects
        for members in _members(session, before, subject, ()).values()
        for request in members
    }
    elements = session.materialiser.elements
    kept = [one for one in before.groups if not elements.members(one) & gone]
    wanted = [
        (recipe, members)
        for subject in subjects
        for recipe, members in _members(session, after, subject, changes).items()
        if len(members) > 1
    ]
    return (*kept, *(_group(session, recipe, members) for recipe, members in wanted))


def _subjects(session: Session, entries: Iterable[Entry]) -> list[str]:
    """The subjects of those entries that are gated edits, in order."""
    elements, read = session.materialiser.elements, session.repository.read_fact
    gated = (one for one in entries if isinstance(elements.element(one.element)[1], GatedEdit))
    return sorted({read(one.fact).subject for one in gated})


def _members(
    session: Session, tree: Tree, subject: str, slots: Iterable[SlotId]
) -> dict[ObjectId, Members]:
    """The live gated edits of a subject that can be made again, by recipe; ``slots`` may be new."""
    plumbing, elements = session.repository, session.materialiser.elements
    edits = plumbing.edits_of(tree)
    places = {*slots, *(SlotId(row.slot) for row in plumbing.facts_of(subject))}
    found: dict[ObjectId, dict[str, Entry]] = {}
    for entry in filter(None, map(edits.get, sorted(places))):
        recipe, element = elements.element(entry.element)
        request = elements.request(entry.element)
        its = plumbing.read_fact(entry.fact).subject
        if isinstance(element, GatedEdit) and request is not None and its == subject:
            found.setdefault(recipe, {})[request] = entry
    return {recipe: found[recipe] for recipe in sorted(found)}


def _group(session: Session, recipe: ObjectId, members: Members) -> ObjectId:
    """The element of some requests together, made where the store has none."""
    plumbing, maker = session.repository, session.materialiser
    digest = group_digest(members)
    if (known := plumbing.index.located(digest)) is not None:
        return known
    by = plumbing.read_recipe(recipe)
    assert isinstance(by, GatedRecipe), "no other recipe makes gated edits"
    requests = [plumbing.read_fact(members[one].fact).request for one in sorted(members)]
    resources = GatheredResources.of(maker, by)
    (made,) = make_shared(session.base_model(), [requests], by, resources, session.progress)
    origin = {"base": maker.base.id, "recipe": recipe, "request": digest}
    (written,) = plumbing.write_located([made.to_bytes(origin | {"members": sorted(members)})])
    return written
