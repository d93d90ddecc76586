"""What ``bisect`` tries out: versions of the model, made in memory, and what judges them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from editvc.core.bisection import Verdict
from editvc.core.history import Tree
from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.session.session import Session


class NothingToBisect(EditvcError):
    """The two ends do not differ as a search needs it: the good one fails, or the bad one passes.

    ``name`` is the end, ``seen`` what was seen there.
    """

    def __init__(self, name: str, verdict: Verdict, seen: str) -> None:
        super().__init__(
            f"there is nothing to search for: {name} is {verdict.value} ({seen})",
            hint="Name a good revision and a bad one, in this order, and what tells them apart.",
        )
        self.name = name
        self.seen = seen


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tree to judge, over a session that writes nothing; ``commit`` is where it stands, if so."""

    session: Session
    tree: Tree
    name: str
    commit: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge says of a candidate, and what it saw, in words."""

    verdict: Verdict
    seen: str


Judge = Callable[[Candidate], Judged]


@dataclass(frozen=True, slots=True)
class Tested:
    """One test of a search: what was tried, and what came of it."""

    candidate: Candidate
    judged: Judged

    def to_json(self) -> dict[str, Any]:
        """For ``bisect --json``."""
        return {
            "name": self.candidate.name,
            "commit": self.candidate.commit,
            "verdict": self.judged.verdict.value,
            "seen": self.judged.seen,
        }


class Trials:
    """The tests of one search, in the order in which they were made; the session hears of each."""

    def __init__(self, session: Session, judge: Judge) -> None:
        self.session = session.scratch()
        self._judge = judge
        self.tested: list[Tested] = []

    def __call__(self, tree: Tree, name: str, commit: ObjectId | None = None) -> Verdict:
        """Judge a tree."""
        candidate = Candidate(self.session, tree, name, commit)
        judged = self._judge(candidate)
        self.tested.append(Tested(candidate, judged))
        self.session.remark(f"{name}: {judged.verdict.value} ({judged.seen})")
        return judged.verdict

    def require(self, expected: Verdict, tree: Tree, name: str, commit: ObjectId | None) -> None:
        """Judge an end of the search. Raises :class:`NothingToBisect`."""
        verdict = self(tree, name, commit)
        if verdict is not expected:
            raise NothingToBisect(name, verdict, self.tested[-1].judged.seen)
