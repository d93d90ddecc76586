"""``squash``: locate a range of history again, together, as one batch.

Single commits are located on the base, each blind to the others. A squash takes the facts that a
range left live, finds keys and residuals layer by layer under the layers already edited (MEMIT's
batch), and puts the new numbers in the place of the old. Edits that are of one fact each, such as
gates, stay as they are: where there are no others, the range is folded and no number changes. With
a method named, edits become that method's instead, from what they keep
(:mod:`editvc.porcelain.solve_as`): gates located edits, located edits gates. The later commits are
replayed on top; the old ones stay reachable through the reflog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, SlotId, digest_of
from editvc.core.invisible import require_visible
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.locate import locate_together
from editvc.evaluation.scores import Scores, locality_answers, score
from editvc.porcelain.solve_as import solvable_as, solved_as
from editvc.session.changes import PatchChanges, patch_changes
from editvc.session.commit_plan import require_ready
from editvc.session.delta_cache import keep_delta_file
from editvc.session.entries import make_entries, planned, store_elements
from editvc.session.fact_lengths import within_positions
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, build, record, with_changes
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the squashed facts and the drift of their tree, at one side of the squash."""

    scores: Scores
    drift: float

    def to_json(self) -> dict[str, Any]:
        """Flat, by name."""
        return self.scores.to_json() | {"drift": self.drift}


@dataclass(frozen=True, slots=True)
class SquashResult:
    """The new HEAD, how much history was folded, and what that did to the answers.

    ``patches`` came or went in that history; they stay as they are. Nothing is measured where no
    fact was located again.
    """

    result: CommitResult
    commits: int
    facts: int
    patches: PatchChanges
    before: Measured | None
    after: Measured | None

    def to_json(self) -> dict[str, Any]:
        """The contract of ``squash --json``."""
        about = {
            "squashed": self.commits,
            "facts": self.facts,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
        }
        return self.result.to_json() | about | self.patches.to_json()


def squash(
    session: Session,
    revisions: str,
    *,
    message: str | None,
    author: str,
    method: str | None = None,
) -> SquashResult:
    """Fold the commits of a range of the current branch into one.

    Its edits are located again, or made ``method``'s from what they keep. The range is what it was
    at the beginning; what is committed meanwhile is replayed on top, too.
    """
    require_visible(message=message)
    commits = session.repository.revisions.resolve_range(revisions)
    return on_branch(
        session, lambda tip: _squash(session, tip, commits, revisions, message, author, method)
    )


def _squash(
    session: Session,
    tip: Tip,
    commits: Sequence[ObjectId],
    revisions: str,
    message: str | None,
    author: str,
    method: str | None,
) -> SquashResult:
    plumbing = session.repository
    plan = _planned(session, tip, commits, revisions, method)
    before, after = plan.before, plan.after
    entries = plan.entries
    replaced = {} if method is None else solved_as(session, method, entries)
    for recipe, group in plan.groups:
        replaced |= _located_together(session, recipe, group)
    squashed, commit = build(
        session,
        plan.parent,
        with_changes(session, after, replaced),
        message=message or _message(session, plan.commits),
        author=author,
        time=session.clock(),
    )
    swap = {entry: replaced[entry.slot] for entry in entries}
    line = _replay(session, squashed, commit, plan.later, swap)
    facts = [plumbing.read_fact(entry.fact) for entry in entries]
    trees = [after, plumbing.read_tree(commit.tree)]
    measured = _measure(session, facts, trees) if facts else (None, None)
    newest, newest_commit = line[-1]
    keep_delta_file(session, plumbing.read_tree(newest_commit.tree))
    earlier = [one for _, one in line[:-1]]
    record(session, tip, newest, newest_commit, verb="squash", message=revisions, earlier=earlier)
    patches = patch_changes(session, before.patches, after.patches)
    return SquashResult(
        CommitResult(newest, newest_commit), len(plan.commits), len(facts), patches, *measured
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a squash works on: ``commits`` of a range and those ``later`` on the branch.

    The range goes from the tree ``before`` it, of the commit ``parent``, to the one ``after`` it;
    ``groups`` are the edits to locate again, each with its recipe, ``remade`` those that become
    another method's.
    """

    commits: Sequence[ObjectId]
    later: Sequence[ObjectId]
    parent: ObjectId | None
    before: Tree
    after: Tree
    groups: Sequence[tuple[LocatedRecipe, list[Entry]]]
    remade: Sequence[Entry]

    @property
    def entries(self) -> list[Entry]:
        """All edits that get new numbers, in slot order."""
        return sorted([*self.remade, *(entry for _, group in self.groups for entry in group)])


def _planned(
    session: Session,
    tip: Tip,
    commits: Sequence[ObjectId],
    revisions: str,
    method: str | None,
) -> _Plan:
    """The plan of a squash. Raises :class:`NothingToDo`, and what would stop it later."""
    plumbing = session.repository
    later = _later(session, tip, commits)
    parent = next(iter(plumbing.read_commit(commits[0]).parents), None)
    before, after = plumbing.tree_of(parent), plumbing.tree_of(commits[-1])
    live = brought_in(session, before, after)
    if method is not None:
        remade = solvable_as(session, method, live)
        if not remade:
            raise NothingToDo(
                f"nothing to squash: no edit that {revisions} left live can become {method}'s",
                hint="Gates can become located edits, located edits gates; `editvc show` tells "
                "what each fact is.",
            )
        return _Plan(commits, later, parent, before, after, (), remade)
    groups = squashable(session, live)
    if not groups and (len(commits) == 1 or not live):
        raise NothingToDo(
            f"nothing to squash: no located edit of {revisions} is live at its end",
            hint="`editvc log` shows what each commit changed. Patches, gates and entries of "
            "codebooks stay as they are.",
        )
    for recipe, _ in groups:
        require_ready(session, recipe)
    if groups:
        session.require_base()
    return _Plan(commits, later, parent, before, after, groups, ())


@dataclass(frozen=True, slots=True)
class SquashPreview:
    """How much history a squash would fold, and how many facts it would locate again.

    ``patches`` came or went in that history; they stay as they are. With a ``method`` the facts
    become that method's instead, and nothing is located.
    """

    commits: int
    facts: int
    patches: PatchChanges
    method: str | None = None

    def summary(self) -> str:
        """In words."""
        folded = ", ".join([f"{self.commits} commits", *self.patches.counts])
        located = f"{self.facts} facts" if self.facts else "nothing"
        done = f"locate {located} again" if self.method is None else f"make {located} {self.method}"
        return f"would fold {folded}, and {done}; nothing was written"

    def to_json(self) -> dict[str, Any]:
        """For ``squash --dry-run --json``."""
        return {"squashed": self.commits, "facts": self.facts} | self.patches.to_json()


def preview_squash(session: Session, revisions: str, *, method: str | None = None) -> SquashPreview:
    """What ``squash`` would do on the current branch."""
    commits = session.repository.revisions.resolve_range(revisions)
    plan = _planned(session, tip_of_head(session), commits, revisions, method)
    return SquashPreview(
        len(plan.commits),
        len(plan.entries),
        patch_changes(session, plan.before.patches, plan.after.patches),
        method,
    )


def _later(session: Session, tip: Tip, commits: Sequence[ObjectId]) -> list[ObjectId]:
    """First-parent commits after the range, oldest first; the range must lie on this branch."""
    rows = session.repository.graph.first_parents(tip.commit) if tip.commit is not None else ()
    line = [row.id for row in rows][::-1]
    if commits[-1] not in line:
        raise NothingToDo(
            "the range does not lie on the current branch",
            hint="`editvc switch` to the branch whose commits you want to squash.",
        )
    return line[line.index(commits[-1]) + 1 :]


def brought_in(session: Session, before: Tree, after: Tree) -> list[Entry]:
    """The edits that a range of commits left live, in slot order."""
    diff = session.repository.edits_of(before).diff(session.repository.edits_of(after))
    return sorted([*diff.added, *(new for _, new in diff.changed)])


def squashable(
    session: Session, entries: Sequence[Entry]
) -> list[tuple[LocatedRecipe, list[Entry]]]:
    """The located edits among entries, with the recipe that each is to be located again with.

    The recipe in force, for edits of its method: it may have changed since. Edits of another method
    keep their own. Patches, gates and codebook entries are of one fact each; no batch would change
    them.
    """
    in_force = session.recipe()
    groups: dict[ObjectId, tuple[LocatedRecipe, list[Entry]]] = {}
    for recipe, group in session.materialiser.elements.by_recipe(entries):
        again = in_force if recipe.method == in_force.method else recipe
        groups.setdefault(again.id, (again, []))[1].extend(group)
    return [(recipe, sorted(group)) for recipe, group in groups.values()]


def _located_together(
    session: Session, recipe: LocatedRecipe, entries: Sequence[Entry]
) -> dict[SlotId, Entry]:
    """New entries with numbers found as one batch, by slot.

    Targets are those that the recipe finds for each fact alone; they are in the store already
    unless the recipe has changed since.
    """
    plumbing = session.repository
    facts = [plumbing.read_fact(entry.fact) for entry in entries]
    plan = [planned(session, recipe, fact) for fact in facts]
    alone = session.materialiser.elements.located(make_entries(session, recipe, plan))
    located = locate_together(
        session.base_model(),
        [fact.request for fact in facts],
        alone,
        recipe,
        session.materialiser.preconditioners.of(recipe),
        progress=session.progress,
    )
    batch = digest_of(sorted(entry.fact for entry in entries))
    stored = store_elements(
        session, recipe, located, [{"request": None, "batch": batch}] * len(facts)
    )
    return {
        entry.slot: Entry(entry.slot, entry.fact, identifier)
        for entry, identifier in zip(entries, stored, strict=True)
    }


def _replay(
    session: Session,
    tip: ObjectId,
    commit: Commit,
    later: Sequence[ObjectId],
    swap: Mapping[Entry, Entry],
) -> list[tuple[ObjectId, Commit]]:
    """The squashed commit, then the later ones on top, with their own words, times and merges.

    A later commit that brought a squashed fact back brings its new numbers back (``swap``).
    """
    plumbing = session.repository
    line = [(tip, commit)]
    for identifier in later:
        old = plumbing.read_commit(identifier)
        target = plumbing.read_tree(old.tree)
        before = plumbing.edits_of(plumbing.tree_of(old.parents[0]))
        diff = before.diff(plumbing.edits_of(target))
        changes: dict[SlotId, Entry | None] = {entry.slot: None for entry in diff.removed}
        for entry in [*diff.added, *(new for _, new in diff.changed)]:
            changes[entry.slot] = swap.get(entry, entry)
        parent, parent_commit = line[-1]
        tree = with_changes(session, plumbing.read_tree(parent_commit.tree), changes)
        tree = replace(tree, restraint=target.restraint, patches=target.patches)
        line.append(
            build(
                session,
                parent,
                tree,
                message=old.message,
                author=old.author,
                time=old.time,
                others=old.parents[1:],
            )
        )
    return line


def _measure(session: Session, facts: Sequence[Fact], trees: Sequence[Tree]) -> list[Measured]:
    """Score the same facts on the models of several trees; the base gives Spe's reference."""
    facts = within_positions(session, facts)
    reference = locality_answers(session.base_model(), facts)
    measured = []
    for tree in trees:
        with session.edited(tree) as lm:
            scores = score(lm, facts, reference)
        measured.append(Measured(scores, session.materialiser.figures(tree)["drift"]))
    return measured


def _message(session: Session, commits: Sequence[ObjectId]) -> str:
    first, last = (session.repository.read_commit(one).number for one in (commits[0], commits[-1]))
    return f"Squash commits {first} to {last}"
