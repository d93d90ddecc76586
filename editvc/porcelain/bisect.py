"""``bisect``: the commit, or the smallest set of facts, with which something went wrong.

Any set of facts makes a model, so a search need not keep to the versions that there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editvc.core.bisection import Verdict, first_bad
from editvc.core.cut import cut, title
from editvc.core.delta_debugging import ddmin
from editvc.core.history import Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, short
from editvc.errors import EditvcError
from editvc.porcelain.blame import blame
from editvc.porcelain.candidates import Judge, Tested, Trials
from editvc.porcelain.log import log_json
from editvc.session.changes import FactChanges, fact_changes, fact_changes_of
from editvc.session.session import Session
from editvc.session.tree_steps import SlotStep, Step, stepped, steps_between
from editvc.session.trees import commit_at
from editvc.vcs.index_rows import CommitRow


class NotBefore(EditvcError):
    """The good end of a search over commits is no ancestor of the bad one."""

    def __init__(self, good: str, bad: str) -> None:
        super().__init__(
            f"{bad} does not stand on {good}",
            hint=f"`editvc bisect base {bad}` begins at the base; `editvc bisect --set {good} "
            f"{bad}` finds what matters of all that differs, whatever the history.",
        )


@dataclass(frozen=True, slots=True)
class BadCommit:
    """The first bad commit, what it changed, and all tests that led to it.

    ``untold`` are commits before it that could not be tested: any of them may be the first.
    """

    row: CommitRow
    changes: FactChanges
    untold: tuple[CommitRow, ...]
    tested: tuple[Tested, ...]

    @property
    def cures(self) -> tuple[str, ...]:
        """The commands that take it back."""
        return (f"editvc revert {short(self.row.id)}",)

    def to_json(self) -> dict[str, Any]:
        """The contract of ``bisect --json``."""
        return {
            "first_bad": log_json(self.row) | self.changes.to_json(),
            "untold": [row.id for row in self.untold],
            "tests": [one.to_json() for one in self.tested],
            "cures": list(self.cures),
        }


@dataclass(frozen=True, slots=True)
class BadSet:
    """The smallest set of changes that makes a good revision bad, none of which can be left out.

    ``brought`` has the commit that set each slot of it. ``heals``: without these changes the bad
    revision is good, so there is no second cause beside them.
    """

    changes: FactChanges
    restraint: Restraint | None
    brought: dict[SlotId, ObjectId]
    heals: bool
    tested: tuple[Tested, ...]

    @property
    def cures(self) -> tuple[str, ...]:
        """The commands that take it back: facts that were set are reverted by their ids."""
        facts = [*self.changes.added, *(new for _, new in self.changes.changed)]
        facts += self.changes.relocated
        return tuple(f"editvc revert {short(fact.id)}" for fact in facts) + (
            ("editvc compact --off",) if self.restraint is not None else ()
        )

    def to_json(self) -> dict[str, Any]:
        """The contract of ``bisect --set --json``."""
        return {
            **self.changes.to_json(),
            "restraint": None if self.restraint is None else self.restraint.to_json(),
            "brought": dict(self.brought),
            "heals": self.heals,
            "tests": [one.to_json() for one in self.tested],
            "cures": list(self.cures),
        }


def bisect(session: Session, good: str, bad: str, judge: Judge) -> BadCommit:
    """The first commit between two revisions that ``judge`` calls bad, by binary search.

    Both ends are judged first. Raises :class:`editvc.porcelain.candidates.NothingToBisect`,
    :class:`NotBefore`, and what the judge raises.
    """
    plumbing = session.repository
    start, end = commit_at(session, good), plumbing.revisions.commit(bad)
    if start is not None and not plumbing.graph.is_ancestor(start, end):
        raise NotBefore(good, bad)
    trials = Trials(session, judge)
    trials.require(Verdict.GOOD, plumbing.tree_of(start), good, start)
    trials.require(Verdict.BAD, plumbing.tree_of(end), bad, end)
    passed = plumbing.graph.reachable([] if start is None else [start])
    rows = {key: row for key, row in plumbing.graph.reachable([end]).items() if key not in passed}

    def test(commit: ObjectId) -> Verdict:
        row = rows[commit]
        name = f"[{row.number} {short(commit)}] {cut(title(row.message))}"
        return trials(plumbing.read_tree(row.tree), name, commit)

    def expect(tests: int) -> None:
        session.remark(f"about {tests} test{'' if tests == 1 else 's'} to come")

    parents = {key: row.parents for key, row in sorted(rows.items())}
    found = first_bad(parents, end, test, expect)
    row = rows[found.node]
    before = plumbing.tree_of(row.parents[0] if row.parents else None)
    return BadCommit(
        row,
        fact_changes(session, before, plumbing.read_tree(row.tree)),
        tuple(rows[one] for one in found.untold),
        tuple(trials.tested),
    )


def bisect_set(session: Session, good: str, bad: str, judge: Judge) -> BadSet:
    """The smallest set of what differs between two revisions that makes the good one bad.

    By delta debugging: over the base that is the smallest set of facts that is bad by itself. A
    set that cannot be told counts as good. Raises
    :class:`editvc.porcelain.candidates.NothingToBisect`, and what the judge raises.
    """
    plumbing = session.repository
    start, end = commit_at(session, good), commit_at(session, bad)
    before, after = plumbing.tree_of(start), plumbing.tree_of(end)
    trials = Trials(session, judge)
    trials.require(Verdict.GOOD, before, good, start)
    trials.require(Verdict.BAD, after, bad, end)
    steps = steps_between(session, before, after)

    def tried(chosen: Sequence[Step], name: str) -> Verdict:
        return trials(stepped(trials.session, before, chosen), name)

    def fails(chosen: Sequence[Step]) -> bool:
        return tried(chosen, f"{len(chosen)} of {len(steps)} changes") is Verdict.BAD

    kept = ddmin(steps, fails)
    rest = [step for step in steps if step not in kept]
    heals = not rest or tried(rest, f"all but these {len(kept)}") is Verdict.GOOD
    return _bad_set(
        session, before, stepped(trials.session, before, kept), kept, bad, heals, trials
    )


def _bad_set(
    session: Session,
    before: Tree,
    after: Tree,
    kept: Sequence[Step],
    bad: str,
    heals: bool,
    trials: Trials,
) -> BadSet:
    slots = [step for step in kept if isinstance(step, SlotStep)]
    pairs = [(step.old, step.new) for step in slots]
    origins = blame(session, bad)
    return BadSet(
        fact_changes_of(session, pairs, before.patches, after.patches),
        after.restraint if after.restraint != before.restraint else None,
        {step.slot: origins[step.slot][1] for step in slots if step.slot in origins},
        heals,
        tuple(trials.tested),
    )
