"""What a commit would do, found out once: which facts go in, which are left out, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from editvc.core.cut import quoted
from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.history import Tree
from editvc.core.ids import SlotId, short
from editvc.core.methods.method import Need
from editvc.core.methods.recipe import Recipe
from editvc.errors import EditvcError
from editvc.evaluation.probes import predicts
from editvc.materialise.editors import editor_of
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, TracingError, tokenize
from editvc.session.entries import PlannedFact, planned
from editvc.session.fact_lengths import require_room
from editvc.session.recording import NothingToDo, Skipped
from editvc.session.session import Session


class SlotConflict(EditvcError):
    """A slot holds another target already. ``further`` counts the other conflicts of the input."""

    def __init__(self, place: str, fact: Fact, live: Fact, further: int = 0) -> None:
        more = f" (and {further} more such conflicts)" if further else ""
        super().__init__(
            f"{place}: {quoted(fact.question)} is already edited to {quoted(live.target_new)} "
            f"(fact {short(live.id)}), not {quoted(fact.target_new)}{more}",
            hint="Take --supersede to replace it, or `editvc revert "
            f"{short(live.id)}` to withdraw it first.",
            details=fact.request.to_json() | {"live": {"fact": live.id} | live.request.to_json()},
        )
        self.place = place
        self.fact = fact
        self.live = live


class UntraceableFact(EditvcError):
    """A fact whose subject or target cannot be found in the model's tokens."""

    def __init__(self, place: str, fact: Fact, cause: TracingError) -> None:
        super().__init__(f"{place}: {cause}", hint=cause.hint, details=fact.request.to_json())
        self.place = place


@dataclass(frozen=True, slots=True)
class Plan:
    """What a commit would do: facts that go in, facts left out, and facts in the way."""

    planned: tuple[PlannedFact, ...]
    skipped: tuple[Skipped, ...]
    conflicts: tuple[SlotConflict, ...]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The facts that go in."""
        return tuple(one.fact for one in self.planned)

    @property
    def refusal(self) -> SlotConflict | NothingToDo | None:
        """Why it cannot be carried out: the first conflict, or that there is nothing to do."""
        if self.conflicts:
            first = self.conflicts[0]
            return SlotConflict(first.place, first.fact, first.live, len(self.conflicts) - 1)
        if not self.planned:
            return NothingToDo(
                "nothing to commit: " + "; ".join(_reasons(self.skipped) or ["no facts given"]),
                hint="`editvc diff base` lists what is live, `editvc revert FACT` takes one out, "
                "as before the same fact by another method.",
            )
        return None


def require_ready(session: Session, recipe: Recipe) -> None:
    """Raise before any work what would stop it later: no statistics of a layer, no editor."""
    for need in recipe.row.needs:
        REQUIRE[need](session, recipe)


def _require_statistics(session: Session, recipe: Any) -> None:
    if recipe.statistics is not None:  # otherwise the commit takes them
        session.materialiser.statistics.require(recipe.statistics, recipe.layers)


def _require_editor(session: Session, recipe: Any) -> None:
    editor_of(session.repository, recipe)


def _require_inputs(session: Session, recipe: Any) -> None:
    if recipe.inputs is not None:  # otherwise the commit takes them
        session.materialiser.statistics.inputs_of(recipe)


REQUIRE: Mapping[Need, Callable[[Session, Any], None]] = {
    "statistics": _require_statistics,
    "editor": _require_editor,
    "inputs": _require_inputs,
}
"""What raises where the repository lacks a thing that a method needs."""


def make_plan(
    session: Session,
    tree: Tree,
    facts: Sequence[SourcedFact],
    recipe: Recipe,
    *,
    supersede: bool,
    sequential: bool,
) -> Plan:
    """Sort facts into those to commit, those to skip and those in conflict; nothing is written.

    Tokens are made here, once. Raises :class:`UntraceableFact` for a subject or a target that
    cannot be found in them.
    """
    edits = session.repository.edits_of(tree)
    candidates: list[SourcedFact] = []
    superseded: set[SlotId] = set()
    skipped: list[Skipped] = []
    conflicts: list[SlotConflict] = []
    for sourced in facts:
        fact = sourced.fact
        entry = edits.get(fact.slot)
        live = session.repository.read_fact(entry.fact) if entry else None
        if sourced.duplicate_of is not None:
            skipped.append(Skipped(fact, f"stands at {sourced.duplicate_of} already"))
        elif live is not None and live.target_new == fact.target_new:
            skipped.append(Skipped(fact, f"is live already, as fact {short(live.id)}"))
        elif live is not None and not supersede:
            conflicts.append(SlotConflict(sourced.place, fact, live))
        else:
            candidates.append(sourced)
            if live is not None:
                superseded.add(fact.slot)
    if sequential:
        plans = [PlannedFact(one.fact, None) for one in candidates]
    else:
        plans = [planned(session, recipe, one.fact) for one in candidates]
    fresh = [one for one, plan in zip(candidates, plans, strict=True) if plan.element is None]
    if fresh:
        session.base_model()  # is needed, and knows how long a text may be
    require_room(session, candidates, getattr(recipe, "contexts", (PLACEHOLDER,)))
    prompts, known = _asked(session, fresh, superseded, tree if sequential else None)
    speaker = "HEAD" if sequential else "the base"
    for fact in known:
        skipped.append(Skipped(fact, f"is known: {speaker} says {quoted(fact.target_new)} already"))
    slots = {fact.slot for fact in known}
    unknown = (plan for plan in plans if plan.fact.slot not in slots)
    with_tokens = (replace(plan, prompt=prompts.get(plan.fact)) for plan in unknown)
    return Plan(tuple(with_tokens), tuple(skipped), tuple(conflicts))


def _asked(
    session: Session, fresh: Sequence[SourcedFact], superseded: set[SlotId], tree: Tree | None
) -> tuple[dict[Fact, TokenizedPrompt], list[Fact]]:
    """The tokens of fresh facts, and those that the model says already.

    What replaces an edit is needed all the same. The model is the base, or that of the ``tree``
    that a sequential commit builds on. What was located on the base before was unknown then, and
    the base has not changed.
    """
    if not fresh:
        return {}, []
    model_of = nullcontext(session.base_model()) if tree is None else session.edited(tree)
    with model_of as lm:
        prompts = {one.fact: tokenized(lm, one) for one in fresh}
        facts = [one.fact for one in fresh if one.fact.slot not in superseded]
        answers = predicts(lm, [prompts[fact] for fact in facts])
    return prompts, [fact for fact, known in zip(facts, answers, strict=True) if known]


def tokenized(lm: LanguageModel, sourced: SourcedFact) -> TokenizedPrompt:
    """The tokens of a fact; what tokenising raises names the record's place."""
    try:
        ((prompt,),) = tokenize(lm.tokenizer, [sourced.fact.request])
    except TracingError as error:
        raise UntraceableFact(sourced.place, sourced.fact, error) from error
    return prompt


def _reasons(skipped: Sequence[Skipped]) -> list[str]:
    return [f"{quoted(one.fact.question)} {one.reason}" for one in skipped[:3]]
