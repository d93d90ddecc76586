"""``commit``: from written facts to located edits, and a tree that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, SlotId, digest_of, object_id, short
from editvc.core.methods.method import Need
from editvc.core.methods.recipe import Recipe
from editvc.editing.locate import knows
from editvc.errors import EditvcError
from editvc.materialise.elements import request_digest
from editvc.materialise.make_elements import Made, make, make_in_sequence
from editvc.models.tokenization import TracingError, trace
from editvc.porcelain.evaluate import unsaid
from editvc.porcelain.health import unusual
from editvc.porcelain.recording import (
    CommitResult,
    NothingToDo,
    Skipped,
    advance,
    head_of,
    with_changes,
)
from editvc.porcelain.train import editor_of
from editvc.vcs.codec import encode
from editvc.vcs.refs import BranchMoved

if TYPE_CHECKING:
    from editvc.repo import Repo

ATTEMPTS = 8
"""How often a commit starts again when another process moved the branch meanwhile."""


class SlotConflict(EditvcError):
    """A slot holds another target already. ``further`` counts the other conflicts of the input."""

    def __init__(self, place: str, fact: Fact, held: Fact, further: int = 0) -> None:
        more = f" (and {further} more such conflicts)" if further else ""
        super().__init__(
            f"{place}: {fact.question!r} is already edited to {held.target_new!r} "
            f"(fact {short(held.id)}), not {fact.target_new!r}{more}",
            hint="Take --supersede to replace it, or `editvc revert "
            f"{short(held.id)}` to withdraw it first.",
        )
        self.place = place
        self.fact = fact
        self.held = held


class UntraceableFact(EditvcError):
    """A fact whose subject or target cannot be found in the model's tokens."""

    def __init__(self, place: str, cause: TracingError) -> None:
        super().__init__(f"{place}: {cause}", hint=cause.hint)
        self.place = place


@dataclass(frozen=True, slots=True)
class Plan:
    """What a commit would do: facts that go in, facts left out, and facts in the way."""

    facts: tuple[Fact, ...]
    skipped: tuple[Skipped, ...]
    conflicts: tuple[SlotConflict, ...]

    def require_work(self) -> None:
        """Raise the first :class:`SlotConflict`, or :class:`NothingToDo` for an empty plan."""
        if self.conflicts:
            first = self.conflicts[0]
            raise SlotConflict(first.place, first.fact, first.held, len(self.conflicts) - 1)
        if not self.facts:
            raise NothingToDo(
                "nothing to commit: " + "; ".join(_reasons(self.skipped) or ["no facts given"]),
                hint="`editvc diff base` lists what is live, `editvc revert FACT` takes one out, "
                "as before the same fact by another method.",
            )


def commit(
    repo: Repo,
    facts: Sequence[SourcedFact],
    *,
    recipe: Recipe,
    message: str | None,
    author: str,
    supersede: bool,
    sequential: bool = False,
    remark: Callable[[str], None] | None = None,
) -> CommitResult:
    """Make an element of what is new and commit it on HEAD, all or nothing.

    ``sequential`` makes them on the weights of HEAD instead of the base's, as patches. Starts again
    from the new HEAD where another process moved the branch meanwhile; what was made is found in
    the store then. ``remark`` hears each warning once, before the branch moves.
    """
    told = set[str]()

    def warn(text: str) -> None:
        if remark is not None and text not in told:
            told.add(text)
            remark(text)

    for _ in range(ATTEMPTS):
        try:
            return _attempt(repo, recipe, facts, message, author, supersede, sequential, warn)
        except BranchMoved as moved:
            last = moved
    raise last


def _attempt(
    repo: Repo,
    recipe: Recipe,
    facts: Sequence[SourcedFact],
    message: str | None,
    author: str,
    supersede: bool,
    sequential: bool,
    warn: Callable[[str], None],
) -> CommitResult:
    require_ready(repo, recipe)
    head, tree = head_of(repo)
    plan = make_plan(repo, tree, facts, recipe, supersede=supersede, sequential=sequential)
    plan.require_work()
    if sequential:
        entries = make_sequential(repo, recipe, plan.facts, tree)
    else:
        entries = make_alone(repo, recipe, plan.facts)
    warnings = unusual(repo, recipe, plan.facts, entries)
    for text in warnings:
        warn(text)
    after = with_changes(repo, tree, {entry.slot: entry for entry in entries})
    asked = plan.facts if repo.holds_model else ()
    missed = unsaid(repo, after, asked)
    words = message or _default_message(plan.facts)
    result = advance(repo, head, after, message=words, author=author, verb="commit")
    return replace(result, skipped=plan.skipped, warnings=warnings, asked=len(asked), unsaid=missed)


def require_ready(repo: Repo, recipe: Recipe) -> None:
    """Raise before any work what would stop it later: no statistics of a layer, no editor."""
    for need in recipe.row.needs:
        REQUIRE[need](repo, recipe)


def _require_statistics(repo: Repo, recipe: Any) -> None:
    repo.materialiser.statistics.require(recipe.statistics, recipe.layers)


REQUIRE: Mapping[Need, Callable[[Repo, Any], object]] = {
    "statistics": _require_statistics,
    "editor": editor_of,
}
"""What raises where the repository lacks a thing that a method needs."""


def make_plan(
    repo: Repo,
    tree: Tree,
    facts: Sequence[SourcedFact],
    recipe: Recipe,
    *,
    supersede: bool,
    sequential: bool,
) -> Plan:
    """Sort facts into those to commit, those to skip and those in conflict; nothing is written.

    Raises the tokenizer's errors for a subject or target that cannot be found in the tokens.
    """
    live = repo.repository.edits_of(tree)
    taken: list[SourcedFact] = []
    replacing: set[SlotId] = set()
    skipped: list[Skipped] = []
    conflicts: list[SlotConflict] = []
    for sourced in facts:
        fact = sourced.fact
        entry = live.get(fact.slot)
        held = repo.repository.read_fact(entry.fact) if entry else None
        if sourced.duplicate_of is not None:
            skipped.append(Skipped(fact, f"stands at {sourced.duplicate_of} already"))
        elif held is None:
            taken.append(sourced)
        elif held.target_new == fact.target_new:
            skipped.append(Skipped(fact, f"is live already, as fact {short(held.id)}"))
        elif supersede:
            taken.append(sourced)
            replacing.add(fact.slot)
        else:
            conflicts.append(SlotConflict(sourced.place, fact, held))
    fresh = _unknown(repo, recipe, taken, replacing, skipped, tree if sequential else None)
    return Plan(tuple(fresh), tuple(skipped), tuple(conflicts))


def _unknown(
    repo: Repo,
    recipe: Recipe,
    taken: Sequence[SourcedFact],
    replacing: set[SlotId],
    skipped: list[Skipped],
    begun: Tree | None,
) -> list[Fact]:
    """Leave out what the model says already, unless it replaces an edit that says otherwise.

    The model is the base, or the tree that a sequential commit has ``begun`` from. What was located
    on the base before was unknown then, and the base has not changed.
    """
    asked = [one for one in taken if begun is not None or _stored(repo, recipe, one.fact) is None]
    if not asked:
        return [one.fact for one in taken]
    candidates = [one.fact for one in asked if one.fact.slot not in replacing]
    requests = [fact.request for fact in candidates]
    holding = nullcontext(repo.base_model()) if begun is None else repo.edited(begun)
    with holding as (model, tokenizer):
        for one in asked:
            _check_tokens(tokenizer, one)
        answers = knows(model, tokenizer, requests)
    known = {fact.slot for fact, yes in zip(candidates, answers, strict=True) if yes}
    who = "the base" if begun is None else "HEAD"
    for fact in candidates:
        if fact.slot in known:
            skipped.append(Skipped(fact, f"is known: {who} says {fact.target_new!r} already"))
    return [one.fact for one in taken if one.fact.slot not in known]


def _check_tokens(tokenizer: Any, sourced: SourcedFact) -> None:
    """Raise what tracing raises for a request it cannot trace, with the record's place."""
    try:
        trace(tokenizer, [sourced.fact.request])
    except TracingError as error:
        raise UntraceableFact(sourced.place, error) from error


def _stored(repo: Repo, recipe: Recipe, fact: Fact) -> ObjectId | None:
    digest = request_digest(repo.materialiser.base.id, recipe.id, fact)
    return repo.repository.index.located(digest)


def is_stored(repo: Repo, recipe: Recipe, fact: Fact) -> bool:
    """Whether the fact's numbers on this base with this recipe are in the store already."""
    return _stored(repo, recipe, fact) is not None


def make_alone(repo: Repo, recipe: Recipe, facts: Sequence[Fact]) -> list[Entry]:
    """Entries of all facts: made once on this base with this recipe, and then for good."""
    missing = [fact for fact in facts if _stored(repo, recipe, fact) is None]
    if missing:
        model, tokenizer = repo.base_model()
        found = make(repo, model, tokenizer, [fact.request for fact in missing], recipe)
        base = repo.materialiser.base.id
        digests = [request_digest(base, recipe.id, fact) for fact in missing]
        store_made(repo, recipe, found, [{"request": digest} for digest in digests])
    repo.repository.write(recipe)  # it may be gone where an element of an earlier try is not
    stored = [_stored(repo, recipe, fact) for fact in facts]
    return _entries(repo, facts, [one for one in stored if one is not None])


def make_sequential(repo: Repo, recipe: Recipe, facts: Sequence[Fact], tree: Tree) -> list[Entry]:
    """Entries of patches that are made on the weights of ``tree``, as papers measure it.

    What the facts replace is taken out first: the patches are to stand without it. They depend on
    the tree and on each other, so they are never found again for another commit. Taking one out
    takes out what it added then; what was made on top of it stays.
    """
    anchor = with_changes(repo, tree, {fact.slot: None for fact in facts})
    with repo.edited(anchor) as (model, tokenizer):
        requests = [fact.request for fact in facts]
        found = make_in_sequence(repo, model, tokenizer, requests, recipe)
    batch = digest_of(sorted(list(fact.request.parts) for fact in facts))
    origin = {"request": None, "anchor": object_id(encode(anchor)), "batch": batch}
    return _entries(repo, facts, store_made(repo, recipe, found, [origin] * len(facts)))


def _entries(repo: Repo, facts: Sequence[Fact], elements: Sequence[ObjectId]) -> list[Entry]:
    written = repo.repository.write_facts(facts)
    return [
        Entry(fact.slot, identifier, element)
        for fact, identifier, element in zip(facts, written, elements, strict=True)
    ]


def store_made(
    repo: Repo, recipe: Recipe, made: Sequence[Made], origins: Sequence[dict[str, Any]]
) -> list[ObjectId]:
    """Write elements, each with its origin beside base and recipe.

    An origin with a ``request`` is found again and never made twice. A squash's has a ``batch``
    instead: the facts in whose company the numbers were found.
    """
    plumbing = repo.repository
    shared = {"base": repo.materialiser.base.id, "recipe": plumbing.write(recipe)}
    return plumbing.write_located(
        one.to_bytes(shared | origin) for one, origin in zip(made, origins, strict=True)
    )


def _default_message(facts: Sequence[Fact]) -> str:
    first = " ".join(f"{facts[0].question} {facts[0].target_new}".split())
    return first if len(facts) == 1 else f"{first}, and {len(facts) - 1} more"


def _reasons(skipped: Sequence[Skipped]) -> list[str]:
    return [f"{one.fact.question!r} {one.reason}" for one in skipped[:3]]
