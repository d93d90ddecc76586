"""Facts of one base made again on another: with which recipes, and which are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.cut import quoted
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.history import Entry
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import REFERENCES
from editvc.errors import EditvcError
from editvc.evaluation.lengths import too_long
from editvc.evaluation.probes import predicts
from editvc.models.architectures import architecture_of
from editvc.models.tokenization import TokenizedPrompt, TracingError, tokenize
from editvc.session.commit_plan import require_ready
from editvc.session.entries import PlannedFact, make_entries, planned
from editvc.session.recording import Skipped
from editvc.session.session import Session
from editvc.session.take_inputs import with_inputs
from editvc.session.take_statistics import with_statistics
from editvc.statistics.bundle import Sources
from editvc.vcs.codec import metadata


class NotCarried(EditvcError):
    """A fact of a method that needs what was trained on the base that is left."""

    def __init__(self, fact: Fact, method: str) -> None:
        super().__init__(
            f"{quoted(fact.question)} was made by {method}, whose editor is of the old base",
            hint="Revert it, or commit it by another method with --supersede; then carry the "
            "others over.",
        )


@dataclass(frozen=True, slots=True)
class Sorted:
    """Entries to be made again, by their recipes, with the tokens of each fact.

    ``known`` are facts that the new base says by itself, ``unfit`` those that it cannot be told,
    and why.
    """

    groups: Mapping[ObjectId, Sequence[tuple[Entry, PlannedFact]]]
    known: tuple[Fact, ...]
    unfit: tuple[Skipped, ...]


def sort_for(session: Session, entries: Iterable[Entry], *, keep_known: bool) -> Sorted:
    """Sort entries of an old base for the one in force in ``session``, which is asked for each.

    Raises :class:`NotCarried`.
    """
    plumbing, lm = session.repository, session.base_model()
    fitting: list[tuple[Entry, Fact, TokenizedPrompt]] = []
    unfit: list[Skipped] = []
    recipes: dict[ObjectId, Recipe] = {}
    by_entry: dict[Entry, ObjectId] = {}
    for entry in entries:
        fact = plumbing.read_fact(entry.fact)
        by_entry[entry] = ObjectId(metadata(plumbing.store.get(entry.element))["recipe"])
        recipe = recipes.setdefault(by_entry[entry], plumbing.read_recipe(by_entry[entry]))
        if "editor" in recipe.row.needs:
            raise NotCarried(fact, recipe.method)
        try:
            ((prompt,),) = tokenize(lm.tokenizer, [fact.request])
        except TracingError as error:
            unfit.append(Skipped(fact, str(error)))
            continue
        contexts = getattr(recipe, "contexts", (PLACEHOLDER,))
        if lm.positions is not None and too_long(lm, fact, lm.positions, contexts):
            unfit.append(Skipped(fact, f"is longer than its {lm.positions} positions"))
            continue
        fitting.append((entry, fact, prompt))
    says = predicts(lm, [prompt for *_, prompt in fitting]) if not keep_known else []
    known = [entry for (entry, *_), said in zip(fitting, says, strict=False) if said]
    groups: dict[ObjectId, list[tuple[Entry, PlannedFact]]] = {}
    for entry, fact, prompt in fitting:
        if entry not in known:
            plan = PlannedFact(fact, None, prompt)
            groups.setdefault(by_entry[entry], []).append((entry, plan))
    facts = dict.fromkeys(plumbing.read_fact(entry.fact) for entry in known)
    return Sorted(groups, tuple(facts), tuple(unfit))


def made_again(old: Session, new: Session, found: Sorted, sources: Sources) -> dict[Entry, Entry]:
    """Each entry with the one made of its fact on the base of ``new``; statistics are taken."""
    made: dict[Entry, Entry] = {}
    for identifier, group in found.groups.items():
        recipe = recipe_on(old, new, old.repository.read_recipe(identifier), sources)
        require_ready(new, recipe)
        plans = [replace(planned(new, recipe, plan.fact), prompt=plan.prompt) for _, plan in group]
        entries = make_entries(new, recipe, plans)
        made |= {was: now for (was, _), now in zip(group, entries, strict=True)}
    return made


def recipe_on(old: Session, new: Session, recipe: Recipe, sources: Sources) -> Recipe:
    """A recipe of the old base for the new one.

    Numbers stay, but those that were the old base's own beginning are the new base's; so do layers
    where both have as many. What names an object of the old base is taken anew.
    """
    was, now = old.repository.read_base(), new.repository.read_base()
    before, after = old.recipe(), new.recipe()
    row, layers = recipe.row, recipe.layers
    if layers == row.default_layers(before.layers, was.layers) or was.layers != now.layers:
        layers = row.default_layers(after.layers, now.layers)
    changes: dict[str, Any] = {"layers": layers}
    changes |= {name: None for name in REFERENCES if getattr(recipe, name, None) is not None}
    if isinstance(recipe, LocatedRecipe):
        changes |= numbers_on(recipe, was, now)
        if recipe.contexts == before.contexts:
            changes["contexts"] = after.contexts
    carried = with_inputs(new, replace(recipe, **changes), sources)
    if not isinstance(carried, LocatedRecipe):
        return carried
    filled = with_statistics(new, carried, sources)
    without: dict[str, Any] = {
        name: None for name in REFERENCES if getattr(recipe, name, "") is None
    }
    return replace(filled, **without)


def numbers_on(recipe: LocatedRecipe, was: BaseModel, now: BaseModel) -> dict[str, Any]:
    """The numbers that a recipe has only because its method begins with them on the old base."""
    begin, begins = (
        recipe.row.numbers_for(
            base.inner_size, normed=architecture_of(base.model_type, base.architecture).normed
        )
        for base in (was, now)
    )
    return {name: begins[name] for name in begin if getattr(recipe, name) == begin[name]}
