"""``commit``: from written facts to elements of the set, and a tree that holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.ids import SlotId
from editvc.core.invisible import require_visible
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.edit_batches import estimate_memory
from editvc.errors import EditvcError
from editvc.evaluation.objectives import Objective, objectives
from editvc.evaluation.probes import predicts
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, marked_tokens, tokenize
from editvc.porcelain.health import outlier_warnings
from editvc.session.commit_plan import Plan, SlotConflict, make_plan, require_ready
from editvc.session.entries import PlannedFact, make_entries, make_sequential_entries
from editvc.session.fact_input import Facts, sourced
from editvc.session.foresight import Disabling, Foreseen, disabling, foreseen_edits, made_edits
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.reactions import (
    OthersReact,
    Reaction,
    first_token_warnings,
    foreseen_reactions,
    reactions_of,
)
from editvc.session.recording import CommitResult, Skipped, advance, with_changes
from editvc.session.session import Session
from editvc.session.take_inputs import with_inputs, with_known_inputs
from editvc.session.take_statistics import with_statistics


class NotShared(EditvcError):
    """Workers are asked for where each edit is made on what was made before."""

    def __init__(self) -> None:
        super().__init__(
            "--sequential makes edits one after the other, on the weights of HEAD: workers know "
            "the base alone, so they cannot share that",
            hint="Leave --workers out, or --sequential.",
        )


def commit(
    session: Session,
    facts: Facts,
    *,
    recipe: Recipe,
    message: str | None,
    author: str,
    supersede: bool,
    sequential: bool = False,
    strict: bool = False,
    remark: Callable[[str], None] | None = None,
) -> CommitResult:
    """Make an element of what is new and commit it on HEAD, all or nothing.

    What acts on names that it is not about, and what may disable the model, is told, and refused
    where ``strict``.

    ``sequential`` makes them on the weights of HEAD instead of the base's, as patches; raises
    :class:`NotShared` where they are to be shared out. Starts again
    from the branch's new tip where another process moved it meanwhile; what was made is found in
    the store then. ``remark`` hears each warning once, before the branch moves.
    """
    require_visible(message=message)
    if sequential and session.engine is not None:
        raise NotShared
    records, warned = sourced(facts), set[str]()
    recipe = with_inputs(session, recipe)
    if isinstance(recipe, LocatedRecipe):
        recipe = with_statistics(session, recipe)

    def warn(text: str) -> None:
        if remark is not None and text not in warned:
            warned.add(text)
            remark(text)

    return on_branch(
        session,
        lambda tip: _attempt(
            session, tip, recipe, records, message, author, supersede, sequential, strict, warn
        ),
    )


def _attempt(
    session: Session,
    tip: Tip,
    recipe: Recipe,
    facts: Sequence[SourcedFact],
    message: str | None,
    author: str,
    supersede: bool,
    sequential: bool,
    strict: bool,
    warn: Callable[[str], None],
) -> CommitResult:
    tree = tip.tree
    session.repository.require_in_force(tree)
    require_ready(session, recipe)
    plan = make_plan(session, tree, facts, recipe, supersede=supersede, sequential=sequential)
    reacting = foreseen_reactions(session, recipe, plan.facts) if strict else ()
    if refusal := _refusal(plan, reacting):
        raise refusal
    if sequential:
        entries = make_sequential_entries(session, recipe, plan.facts, tree)
    else:
        entries = make_entries(session, recipe, plan.planned)
    dangerous = disabling(session, made_edits(session, recipe, plan.facts, entries))
    if strict and dangerous:
        raise Disabling(dangerous)
    warnings = (
        *outlier_warnings(session, recipe, plan.facts, entries),
        *(one.line for one in dangerous),
        *(one.line for one in reactions_of(session, recipe, plan.facts, entries)),
        *first_token_warnings(session, plan.facts, entries),
    )
    for text in warnings:
        warn(text)
    after = with_changes(session, tree, {entry.slot: entry for entry in entries})
    checked = plan.planned if session.holds_model else ()
    failed = failed_facts(session, after, checked)
    words = message or _default_message(plan.facts)
    result = advance(session, tip, after, message=words, author=author, verb="commit")
    return replace(
        result, skipped=plan.skipped, warnings=warnings, checked=len(checked), failed=failed
    )


def _refusal(plan: Plan, reacting: Sequence[Reaction]) -> EditvcError | None:
    """What a commit raises before any work: the plan's reason, or the reactions of a strict one."""
    return plan.refusal or (OthersReact(reacting) if reacting else None)


def failed_facts(session: Session, tree: Tree, facts: Sequence[PlannedFact]) -> tuple[Fact, ...]:
    """The facts that greedy generation would not begin with on the model of ``tree``.

    One forward pass for all: cheap beside what it took to make their edits.
    """
    if not facts:
        return ()
    with session.edited(tree) as lm:
        answers = predicts(lm, [_prompt(lm, one) for one in facts])
    return tuple(one.fact for one, right in zip(facts, answers, strict=True) if not right)


def _prompt(lm: LanguageModel, planned: PlannedFact) -> TokenizedPrompt:
    """The tokens of a fact: the plan's, unless its element was in the store."""
    if planned.prompt is not None:
        return planned.prompt
    ((prompt,),) = tokenize(lm.tokenizer, [planned.fact.request])
    return prompt


def _default_message(facts: Sequence[Fact]) -> str:
    first = " ".join(f"{facts[0].question} {facts[0].target_new}".split())
    return first if len(facts) == 1 else f"{first}, and {len(facts) - 1} more"


@dataclass(frozen=True, slots=True)
class FactPreview:
    """One fact as the model will see it: tokens with (is the subject's last, is the target).

    ``objective`` is how far the target is from what the base says.
    """

    fact: Fact
    slot: SlotId
    tokens: tuple[tuple[str, bool, bool], ...]
    stored: bool
    objective: Objective

    @property
    def state(self) -> str:
        """Whether the fact costs work."""
        return "located already" if self.stored else "to be located"

    def to_json(self) -> dict[str, Any]:
        """For ``commit --dry-run --json``."""
        return {
            "fact": self.fact.id,
            "slot": self.slot,
            "stored": self.stored,
            "objective": self.objective.to_json(),
            "tokens": [
                {"text": text, "subject_last": subject, "target": target}
                for text, subject, target in self.tokens
            ],
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """What ``commit`` would do. ``memory`` is an estimate in bytes, beside the model.

    It is ``None`` for methods that no estimate is known of: those that make patches and codebooks.
    ``foreseen`` is the chance of each edit to disable the model, as far as it can be told before it
    is made; ``dangerous`` are those past the limit. ``refusal`` is what it would raise instead, if
    anything: edits that are still to be made are refused once they are.
    """

    facts: tuple[FactPreview, ...]
    skipped: tuple[Skipped, ...]
    conflicts: tuple[SlotConflict, ...]
    memory: int | None
    reactions: tuple[Reaction, ...] = ()
    foreseen: tuple[Foreseen, ...] = ()
    dangerous: tuple[Foreseen, ...] = ()
    refusal: EditvcError | None = None

    @property
    def stored(self) -> int:
        """Facts whose numbers are in the store already."""
        return sum(fact.stored for fact in self.facts)

    def to_json(self) -> dict[str, Any]:
        """For ``commit --dry-run --json``."""
        return {
            "facts": [fact.to_json() for fact in self.facts],
            "skipped": [one.to_json() for one in self.skipped],
            "conflicts": [
                {"place": one.place, "message": str(one)} | one.details for one in self.conflicts
            ],
            "memory": self.memory,
            "reactions": [one.to_json() for one in self.reactions],
            "foreseen": [one.to_json() for one in self.foreseen],
        }


def preview(
    session: Session,
    facts: Facts,
    *,
    recipe: Recipe,
    supersede: bool,
    sequential: bool,
    strict: bool,
) -> Preview:
    """What ``commit`` would do with ``facts`` on HEAD."""
    recipe = with_known_inputs(session, recipe)
    require_ready(session, recipe)
    tree = tip_of_head(session).tree
    plan = make_plan(
        session, tree, sourced(facts), recipe, supersede=supersede, sequential=sequential
    )
    lm = session.base_model()
    prompts = [_prompt(lm, one) for one in plan.planned]
    previews = [
        FactPreview(
            one.fact,
            one.fact.slot,
            tuple(marked_tokens(lm.tokenizer, prompt)),
            one.element is not None,
            objective,
        )
        for one, prompt, objective in zip(
            plan.planned, prompts, objectives(lm, prompts), strict=True
        )
    ]
    memory = None
    if isinstance(recipe, LocatedRecipe):
        missing = [one.fact.request for one in plan.planned if one.element is None]
        memory = estimate_memory(lm, missing, recipe)
    reacting = foreseen_reactions(session, recipe, plan.facts)
    foreseen = foreseen_edits(session, recipe, [(one.fact, one.element) for one in plan.planned])
    dangerous = disabling(session, foreseen)
    made = [one for one in dangerous if one.made] if strict else []
    refusal = _refusal(plan, reacting if strict else ()) or (Disabling(made) if made else None)
    return Preview(
        tuple(previews),
        plan.skipped,
        plan.conflicts,
        memory,
        reacting,
        foreseen,
        dangerous,
        refusal,
    )
