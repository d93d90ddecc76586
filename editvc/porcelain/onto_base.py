"""``rebase --onto-base``: this branch's facts, made again on another base, commit by commit.

Numbers of one base mean nothing on another, so every fact is located afresh there, with statistics
of its own. The new line begins with a first commit of its own; the old one stays reachable through
the reflog, and its base is among those that the repository knows (docs/adr/0031).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import REFERENCES
from editvc.evaluation.probes import predicts_target
from editvc.evaluation.score_columns import Scores
from editvc.evaluation.scores import locality_answers, score
from editvc.models.fingerprint import BaseMismatchError, require_identical
from editvc.models.source import ModelNotFoundError
from editvc.porcelain.sequencer import Combination, finish, wait
from editvc.session.carried import Sorted, made_again, numbers_on, sort_for
from editvc.session.fact_lengths import within_positions
from editvc.session.new_base import NewBase
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import NothingToDo, Skipped, build, with_changes
from editvc.session.session import Session
from editvc.statistics.bundle import sources_of
from editvc.vcs.codec import encode
from editvc.vcs.draft_config import DraftConfig
from editvc.vcs.edit_set import EditDiff, EditSet
from editvc.vcs.known_bases import unreferring
from editvc.vcs.pending import Pending
from editvc.vcs.refs import HEAD

KNOWN = (
    "this base was in force before: its layers and statistics stay; `editvc config` and "
    "`editvc stats compute` change them"
)


@dataclass(frozen=True, slots=True)
class Goal:
    """Where to: the ``model``, as in ``init``. ``keep_known`` carries what it says by itself."""

    model: str
    revision: str | None = None
    layers: Sequence[int] | None = None
    texts: Sequence[Path] = ()
    entities: Path | None = None
    keep_known: bool = False


@dataclass(frozen=True, slots=True)
class BasePreview:
    """What would be carried: ``commits`` of the line, and ``facts`` of all of them.

    ``known`` the new base says already, ``unfit`` it cannot be told, and ``patches`` imported ones
    are of the old base alone: those are left out.
    """

    commits: int
    facts: int
    known: tuple[Fact, ...]
    unfit: tuple[Skipped, ...]
    patches: int

    def to_json(self) -> dict[str, Any]:
        """For ``rebase --onto-base --dry-run --json``."""
        return {
            "commits": self.commits,
            "facts": self.facts,
            "known": [fact.id for fact in self.known],
            "unfit": [one.to_json() for one in self.unfit],
            "patches": self.patches,
        }


@dataclass(frozen=True, slots=True)
class OntoBase:
    """What came of it. ``failed`` are live facts that took on the old base and not on the new one.

    Where there are some, the branch waits where it was. ``before`` are the scores of the live facts
    on the old base, ``None`` where that is not at hand; ``after`` on the new one.
    """

    done: Combination
    carried: BasePreview
    failed: tuple[Fact, ...]
    before: Scores | None
    after: Scores | None

    def to_json(self) -> dict[str, Any]:
        """The contract of ``rebase --onto-base --json``."""
        return {
            **self.done.to_json(),
            **self.carried.to_json(),
            "unsaid": [fact.id for fact in self.failed],
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
        }


def rebase_onto_base(session: Session, goal: Goal) -> OntoBase:
    """Carry HEAD's branch over to another base, which is in force from then on.

    Raises what ``NewBase.open`` raises, ``NothingToDo`` where no fact is to be carried, and
    ``NotCarried``. Where facts no longer take, what was made waits for ``--continue``.
    """
    start = NewBase.open(goal.model, goal.revision, progress=session.progress)
    return on_branch(session, lambda tip: _attempt(session, tip, start, goal))


def preview_onto_base(session: Session, goal: Goal) -> BasePreview:
    """What would be carried, as the new base is asked; nothing is written."""
    start = NewBase.open(goal.model, goal.revision, progress=session.progress)
    tip, scratch = tip_of_head(session), session.scratch()
    if _stands_on(session, tip, start):
        return BasePreview(0, 0, (), (), 0)
    new = _begun(scratch, scratch.over(tip.tree.base), start, goal)
    line = _line(session, tip)
    found = sort_for(new, _entries(session, line), keep_known=goal.keep_known)
    return _preview(tip, line, found)


def _attempt(session: Session, tip: Tip, start: NewBase, goal: Goal) -> OntoBase:
    line = _line(session, tip)
    if _stands_on(session, tip, start):
        same = Combination(tip.commit, moved=False, verb="rebase")
        return OntoBase(same, BasePreview(0, 0, (), (), 0), (), None, None)
    old, live = session.over(tip.tree.base), _live(session, tip.tree)
    before = _measured_if_there(old, tip.tree, live)
    for one in (session, old):
        one.forget_base()  # two models at once may be more than there is room for
    new = _begun(session, old, start, goal)
    found = sort_for(new, _entries(session, line), keep_known=goal.keep_known)
    swap = made_again(old, new, found, sources_of(goal.texts, None, goal.entities))
    made = _replayed(new, line, swap)
    if not made:
        raise NothingToDo(
            f"nothing to carry: {goal.model} says every fact by itself, or can be told none",
            hint="--keep-known carries what it says by itself, too.",
        )
    unfit = {one.fact for one in found.unfit}
    asked = [fact for fact in live if fact not in unfit]
    after = _measured(new, new.repository.read_tree(made[-1][1].tree), asked)
    took = before.said if before is not None else frozenset(asked)
    failed = tuple(fact for fact in asked if fact in took and fact not in after.said)
    done = _ended(session, new, tip, start, made, failed)
    carried = _preview(tip, line, found)
    return OntoBase(done, carried, failed, before.scores if before else None, after.scores)


Made = Sequence[tuple[ObjectId, Commit]]


def _ended(
    session: Session, new: Session, tip: Tip, start: NewBase, made: Made, failed: Sequence[Fact]
) -> Combination:
    """Move the branch; where facts ``failed``, all waits for the user's word."""
    draft = new.repository.config_file
    assert isinstance(draft, DraftConfig) and tip.commit is not None, "a draft, of commits"
    newest, commit = made[-1]
    pending = Pending(
        verb="rebase",
        ref=tip.ref,
        began=tip.commit,
        parent=newest,
        tree=commit.tree,
        message="",
        author="",
        time=None,
        about=f"onto the base {start.files.source}",
        done=tuple(identifier for identifier, _ in made),
        base=draft.values,
    )
    if failed:
        wait(session, pending)
        return Combination(tip.commit, tuple(made), moved=False, verb="rebase")
    done = finish(new, pending)
    session.forget_base()
    return done


def _begun(session: Session, old: Session, start: NewBase, goal: Goal) -> Session:
    """A session with the new base in force and stored; statistics that it does not ship come later.

    One that the repository knows has the settings that it had.
    """
    lm, plumbing = start.load(session.compute), session.repository
    if (known := _known(session, start)) is not None:
        if goal.layers or goal.texts or goal.entities:
            session.remark(KNOWN)
        return session.drafted(known, lm)
    was, layers = old.repository.read_base(), goal.layers
    if layers is None and "layers" not in start.shipped and start.base.layers == was.layers:
        layers = old.recipe().layers
    chosen = start.chosen_layers(layers)
    bundle = start.bundle(chosen) if not goal.texts and goal.entities is None else None
    recipe = start.recipe(lm, chosen, bundle, _numbers(old.recipe(), was, start.base))
    plumbing.store.put_all([encode(start.base), *start.objects(bundle)])
    start.memory.pour(plumbing.cache)
    return session.drafted(unreferring(old.repository.config) | start.settings(recipe), lm)


def _stands_on(session: Session, tip: Tip, start: NewBase) -> bool:
    """Whether the branch is over this base already.

    Raises ``BaseMismatchError`` for a model that differs from that in tensors that are never
    edited alone: trees name a base by those that are, and could not tell the two apart.
    """
    if tip.tree.base != start.base.id:
        return False
    known = session.over(tip.tree.base).repository.read_identity()
    if known is not None:
        require_identical(known, start.identity, start.files.source)
    return True


def _known(session: Session, start: NewBase) -> dict[str, Any] | None:
    """The settings to change for a base that the repository knows; ``None`` for a new one."""
    plumbing = session.repository
    if start.base.id == plumbing.config.base.id:
        return {}
    known = plumbing.bases.settings_of(start.base.id)
    place = {"base.model": start.base.source, "base.revision": start.base.revision}
    return known | place if known is not None else None


def _numbers(recipe: LocatedRecipe, was: BaseModel, now: BaseModel) -> dict[str, Any]:
    """The method of a recipe and its numbers, on another base."""
    own = {"kind", "layers", "contexts", *REFERENCES}
    kept = {name: value for name, value in recipe.to_json().items() if name not in own}
    return kept | numbers_on(recipe, was, now)


def _line(session: Session, tip: Tip) -> list[ObjectId]:
    """The branch's commits along first parents, oldest first. Raises where there is none."""
    head = tip.commit or session.repository.revisions.commit(HEAD)  # which says: no commit yet
    return [row.id for row in session.repository.graph.first_parents(head)][::-1]


def _step(session: Session, commit: Commit) -> EditDiff:
    """What a commit changed of the edits, against its first parent."""
    plumbing = session.repository
    before = plumbing.read_commit(commit.parents[0]).tree if commit.parents else None
    root = plumbing.read_tree(before).edits if before is not None else None
    after = plumbing.edits_of(plumbing.read_tree(commit.tree))
    return EditSet(plumbing.store, root).diff(after)


def _entries(session: Session, line: Sequence[ObjectId]) -> list[Entry]:
    """Every edit that was ever live on a line, in the order of slots."""
    diffs = [_step(session, session.repository.read_commit(one)) for one in line]
    changed = {new for diff in diffs for _, new in diff.changed}
    return sorted(changed.union(*(diff.added for diff in diffs)))


def _replayed(new: Session, line: Sequence[ObjectId], swap: Mapping[Entry, Entry]) -> Made:
    """The line's commits over the new base; one that changes nothing there is left out."""
    made: list[tuple[ObjectId, Commit]] = []
    tree = Tree(base=new.repository.config.base.id)
    for identifier in line:
        old = new.repository.read_commit(identifier)
        diff = _step(new, old)
        changes = {entry.slot: swap.get(entry) for entry in diff.added}
        changes |= {entry.slot: None for entry in diff.removed}
        changes |= {entry.slot: swap.get(entry) for _, entry in diff.changed}
        restraint = new.repository.read_tree(old.tree).restraint
        after = replace(with_changes(new, tree, changes), restraint=restraint)
        if after == tree:
            continue
        parent, tree = made[-1][0] if made else None, after
        made.append(build(new, parent, tree, message=old.message, author=old.author, time=old.time))
    return made


def _live(session: Session, tree: Tree) -> list[Fact]:
    plumbing = session.repository
    return [plumbing.read_fact(entry.fact) for entry in plumbing.edits_of(tree).entries()]


def _preview(tip: Tip, line: Sequence[ObjectId], found: Sorted) -> BasePreview:
    carried = sum(map(len, found.groups.values()))
    return BasePreview(len(line), carried, found.known, found.unfit, len(tip.tree.patches))


@dataclass(frozen=True, slots=True)
class _Measured:
    """Scores of facts on the model of a tree, and the facts that it says."""

    scores: Scores
    said: frozenset[Fact]


def _measured(session: Session, tree: Tree, facts: Sequence[Fact]) -> _Measured:
    facts = within_positions(session, facts)
    reference = locality_answers(session.base_model(), facts)
    with session.edited(tree) as lm:
        says = predicts_target(lm, [fact.request for fact in facts])
        scores = score(lm, facts, reference)
    return _Measured(scores, frozenset(f for f, said in zip(facts, says, strict=True) if said))


def _measured_if_there(session: Session, tree: Tree, facts: Sequence[Fact]) -> _Measured | None:
    """On the old base, where its files are still there and its own."""
    try:
        return _measured(session, tree, facts)
    except (ModelNotFoundError, BaseMismatchError) as error:
        session.remark(f"the old base is not asked: {error}")
        return None
