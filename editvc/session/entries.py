"""Entries of the set for facts: an element is made once for a request, stored, and found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, digest_of, object_id
from editvc.core.methods.recipe import Recipe
from editvc.editing.edit_batches import BATCH
from editvc.materialise.elements import Element, request_digest
from editvc.materialise.make_elements import make_in_batches, make_in_sequence
from editvc.models.tokenization import TokenizedPrompt
from editvc.session.recording import with_changes
from editvc.session.session import Session
from editvc.vcs.codec import encode


@dataclass(frozen=True, slots=True)
class PlannedFact:
    """A fact that goes into the set. ``element`` is what the store holds of it already.

    ``prompt`` has the tokens of its question and target, where a model was asked for it.
    """

    fact: Fact
    element: ObjectId | None
    prompt: TokenizedPrompt | None = None


def planned(session: Session, recipe: Recipe, fact: Fact) -> PlannedFact:
    """A fact, with the element that answers its request on this base with this recipe."""
    digest = request_digest(session.materialiser.base.id, recipe.id, fact)
    return PlannedFact(fact, session.repository.index.located(digest))


def make_entries(session: Session, recipe: Recipe, facts: Sequence[PlannedFact]) -> list[Entry]:
    """Entries of all facts: made once on this base with this recipe, and then for good.

    Each batch is stored when it is made: who is interrupted, and tries again, finds it.
    """
    elements = {one.fact: one.element for one in facts if one.element is not None}
    missing = [one.fact for one in facts if one.element is None]
    if missing:
        requests = [fact.request for fact in missing]
        made = make_in_batches(
            session.materialiser, session.workers, requests, recipe, session.progress
        )
        base = session.materialiser.base.id
        for number, new in enumerate(made):
            batch = missing[number * BATCH : (number + 1) * BATCH]
            origins = [{"request": request_digest(base, recipe.id, fact)} for fact in batch]
            elements |= zip(batch, store_elements(session, recipe, new, origins), strict=True)
    session.repository.write(recipe)  # it may be gone where an element of an earlier try is not
    ordered = [one.fact for one in facts]
    return _entries(session, ordered, [elements[fact] for fact in ordered])


def make_sequential_entries(
    session: Session, recipe: Recipe, facts: Sequence[Fact], tree: Tree
) -> list[Entry]:
    """Entries of patches that are made on the weights of ``tree``, as papers measure it.

    What the facts replace is taken out first: the patches are to stand without it. They depend on
    the tree and on each other, so they are never found again for another commit. Taking one out
    takes out what it added then; what was made on top of it stays.
    """
    anchor = with_changes(session, tree, {fact.slot: None for fact in facts})
    with session.edited(anchor) as lm:
        requests = [fact.request for fact in facts]
        patches = make_in_sequence(session.materialiser, lm, requests, recipe, session.progress)
    batch = digest_of(sorted(list(fact.request.parts) for fact in facts))
    origin = {"request": None, "anchor": object_id(encode(anchor)), "batch": batch}
    return _entries(session, facts, store_elements(session, recipe, patches, [origin] * len(facts)))


def store_elements(
    session: Session,
    recipe: Recipe,
    elements: Sequence[Element],
    origins: Sequence[dict[str, Any]],
) -> list[ObjectId]:
    """Write elements, each with its origin beside base and recipe.

    An origin with a ``request`` is found again and never made twice. A squash's has a ``batch``
    instead: the facts in whose company the numbers were found.
    """
    plumbing = session.repository
    shared = {"base": session.materialiser.base.id, "recipe": plumbing.write(recipe)}
    return plumbing.write_located(
        element.to_bytes(shared | origin) for element, origin in zip(elements, origins, strict=True)
    )


def _entries(session: Session, facts: Sequence[Fact], elements: Sequence[ObjectId]) -> list[Entry]:
    written = session.repository.write_facts(facts)
    return [
        Entry(fact.slot, identifier, element)
        for fact, identifier, element in zip(facts, written, elements, strict=True)
    ]
