"""``grep``: the facts and the commits that hold the words of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.facts import Fact
from editvc.core.ids import ObjectId
from editvc.core.invisible import require_visible
from editvc.porcelain.log import log_json
from editvc.session.changes import fact_json
from editvc.session.session import Session
from editvc.vcs.index_rows import CommitRow, searchable
from editvc.vcs.search import Search, words_of


@dataclass(frozen=True, slots=True)
class MatchingFact:
    """A fact that holds all words. ``commit`` brought it; ``live`` tells whether it still counts.

    ``beside`` are the fields with a word that question and new target do not hold.
    """

    fact: Fact
    commit: CommitRow
    live: bool
    beside: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """For ``grep --json``."""
        return fact_json(self.fact) | {"commit": self.commit.id, "live": self.live}


@dataclass(frozen=True, slots=True)
class Matches:
    """Facts, and commits by their messages, each as ``log`` has their commits: newest first."""

    facts: tuple[MatchingFact, ...]
    commits: tuple[CommitRow, ...]

    def __bool__(self) -> bool:
        return bool(self.facts or self.commits)

    def to_json(self) -> dict[str, Any]:
        """The contract of ``grep --json``."""
        return {
            "facts": [match.to_json() for match in self.facts],
            "commits": [log_json(row) for row in self.commits],
        }


def grep(
    session: Session, text: str, revision: str | None = "HEAD", *, messages: bool = True
) -> Matches:
    """The facts live at ``revision``, and the commits that it reaches, with all words of ``text``.

    Without a revision, every fact and message that was ever committed; live is then what is live at
    HEAD. ``messages`` says whether to look at commits at all.
    """
    require_visible(text=text)
    plumbing = session.repository
    search, tip = Search(plumbing.index), _tip(session, revision)
    facts = live = search.live(tip) if tip is not None else {}
    starts = [tip] if tip is not None else []
    if revision is None:
        facts, starts = search.ever(), [row.id for row in plumbing.index.commits()]
    holding, line = search.holding(text), plumbing.graph.log(starts)
    by_commit: dict[ObjectId, list[Fact]] = {}
    for identifier in holding & facts.keys():
        by_commit.setdefault(facts[identifier], []).append(plumbing.read_fact(identifier))
    words = words_of(text)
    return Matches(
        facts=tuple(
            MatchingFact(fact, row, fact.id in live, _beside(fact, words))
            for row in line
            for fact in sorted(by_commit.get(row.id, []), key=lambda fact: (fact.line, fact.id))
        ),
        commits=tuple(row for row in line if messages and row.id in holding),
    )


def _tip(session: Session, revision: str | None) -> ObjectId | None:
    """The commit whose set is the live one; ``None`` before the first, and for the base."""
    if revision in (None, "HEAD"):
        return session.repository.refs.found_head().commit
    return session.repository.revisions.resolve(revision)


def _beside(fact: Fact, words: list[str]) -> tuple[tuple[str, str], ...]:
    shown = searchable([fact.question, fact.prompt, fact.target_new])
    rest = [word for word in words if word not in shown]
    fields = [("target_true", fact.target_true), ("source", fact.source)]
    fields += [("tag", tag) for tag in fact.tags]
    return tuple(
        (name, text)
        for name, text in fields
        if text and any(word in searchable([text]) for word in rest)
    )
