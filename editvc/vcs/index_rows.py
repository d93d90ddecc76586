"""The rows of ``index.db`` that repeat what objects say: commits, facts, and changes of slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from editvc.core.facts import Fact
from editvc.core.history import Commit
from editvc.core.ids import ObjectId, normalised


@dataclass(frozen=True, slots=True)
class CommitRow:
    """A commit and its id, as ``log`` shows it, read without opening its object."""

    id: ObjectId
    number: int
    tree: ObjectId
    parents: tuple[ObjectId, ...]
    message: str
    author: str
    time: int
    edits: int
    live: int
    delta: ObjectId | None
    health: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, identifier: ObjectId, commit: Commit) -> CommitRow:
        """The row of a commit."""
        return cls(
            id=identifier,
            number=commit.number,
            tree=commit.tree,
            parents=commit.parents,
            message=commit.message,
            author=commit.author,
            time=commit.time,
            edits=commit.edits,
            live=commit.live,
            delta=commit.delta,
            health=tuple(sorted(commit.health)),
        )

    @property
    def text(self) -> str:
        """What :mod:`editvc.vcs.search` looks through."""
        return searchable([self.message])


@dataclass(frozen=True, slots=True)
class FactRow:
    """What a fact says, by its id."""

    id: ObjectId
    slot: str
    subject: str
    prompt: str
    target_new: str
    target_true: str | None
    relation: str | None
    source: str | None
    tags: tuple[str, ...]
    valid_until: str | None

    @classmethod
    def of(cls, identifier: ObjectId, fact: Fact) -> FactRow:
        """The row of a fact."""
        return cls(
            id=identifier,
            slot=fact.slot,
            subject=fact.subject,
            prompt=fact.prompt,
            target_new=fact.target_new,
            target_true=fact.target_true,
            relation=fact.relation,
            source=fact.source,
            tags=fact.tags,
            valid_until=fact.valid_until,
        )

    @property
    def text(self) -> str:
        """What :mod:`editvc.vcs.search` looks through."""
        texts = (self.subject, self.prompt, self.target_new, self.target_true, self.source)
        return searchable([*filter(None, texts), *self.tags])


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """What a commit did to one slot, against its first parent.

    ``old`` and ``new`` are facts, ``None`` where the slot was or is empty. They are equal where the
    same fact was located again.
    """

    commit_id: ObjectId
    slot: str
    old: ObjectId | None
    new: ObjectId | None


def searchable(texts: Iterable[str]) -> str:
    """Texts in the one spelling that a search compares, each on a line of its own.

    That is NFKC, case folded, and without U+0000, at which SQLite's full-text search stops reading.
    """
    return "\n".join(normalised(text.replace("\0", " ")) for text in texts)
