"""The results that are kept of a tree, in short: for ``log --scores`` and ``diff --scores``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from editvc.core.ids import ObjectId, object_id
from editvc.session.session import Session
from editvc.session.trees import tree_at
from editvc.vcs import codec
from editvc.vcs.results import Result

EDITS = ("generated", "es", "ps", "ns", "s", "eff", "par", "spe", "avg")
NO_SCORES = ("edits-base", "sequence")


@dataclass(frozen=True, slots=True)
class KeptScores:
    """The figures of one suite under its settings; ``data`` is the digest of what was asked."""

    suite: str
    settings: Mapping[str, Any]
    data: str
    figures: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """For ``log`` and ``diff`` with ``--scores --json``."""
        return {"suite": self.suite, "settings": {**self.settings}, "data": self.data,
                "figures": {**self.figures}}  # fmt: skip

    def line(self) -> str:
        """In one line, for people."""
        numbers = ", ".join(f"{name} {value:.1f}" for name, value in self.figures.items())
        return f"{self.suite}: {numbers}"


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two revisions; None where it was not measured."""

    suite: str
    figure: str
    before: float | None
    after: float | None

    def to_json(self) -> dict[str, Any]:
        """For ``diff --scores --json``."""
        return asdict(self)


def side_by_side(before: Sequence[KeptScores], after: Sequence[KeptScores]) -> list[Compared]:
    """Every figure of either, by suite and settings: the facts that were asked may differ."""
    old, new = ({(one.suite, str(one.settings)): one.figures for one in each}
                for each in (before, after))  # fmt: skip
    return [
        Compared(key[0], name, old.get(key, {}).get(name), new.get(key, {}).get(name))
        for key in dict.fromkeys([*old, *new])
        for name in dict.fromkeys([*old.get(key, ()), *new.get(key, ())])
    ]


def kept_scores(session: Session, tree: ObjectId) -> list[KeptScores]:
    """What was measured of a tree itself: not the base's side of a comparison, nor sequences."""
    return [
        KeptScores(one.question.suite, one.question.settings, one.question.data, _figures(one))
        for one in session.repository.results.of_tree(tree)
        if one.question.suite not in NO_SCORES
    ]


def scores_of_revision(session: Session, revision: str) -> list[KeptScores]:
    """:func:`kept_scores` of the tree of a revision."""
    return kept_scores(session, object_id(codec.encode(tree_at(session, revision))))


def _figures(result: Result) -> dict[str, float]:
    """Numbers by name; those of a suite in groups are named ``group name``."""
    answer = result.answer
    if result.question.suite == "edits":
        return {name: answer[name] for name in EDITS if answer[name] is not None}
    return {
        f"{group} {name}": value
        for group, figures in answer["figures"].items()
        for name, value in figures.items()
        if isinstance(value, int | float) and name not in ("asked", "shots", "chance")
    }
