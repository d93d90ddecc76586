"""Looking at history: ``status``, ``log``, ``show`` and the factual half of ``diff``.

Everything here reads the index and small JSON objects; no tensor, and so no torch, is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, object_id, short
from editvc.vcs import codec
from editvc.vcs.index import CommitRow

if TYPE_CHECKING:
    from editvc.repo import Repo


@dataclass(frozen=True, slots=True)
class LivePatch:
    """A patch that stands for no fact: what it was made of (``lora``, ``difference``), and where.

    ``source`` is the name of the folder, ``digest`` a sha256 over what was read from it.
    """

    id: ObjectId
    kind: str
    source: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For ``status``, ``show`` and ``diff --json``."""
        return {
            "patch": self.id,
            "kind": self.kind,
            "source": self.source,
            "digest": self.digest,
        }

    def __str__(self) -> str:
        return f"{short(self.id)} {self.kind} {self.source} (digest {short(self.digest)})"


@dataclass(frozen=True, slots=True)
class Status:
    """Where a repository stands. ``commit`` is ``None`` before the first commit."""

    commit: ObjectId | None
    number: int
    branch: str | None
    tree: ObjectId
    base: ObjectId
    source: str
    live: int
    patches: tuple[LivePatch, ...] = ()
    restraint: Restraint | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract of ``status --json``."""
        return {
            "commit": self.commit,
            "number": self.number,
            "branch": self.branch,
            "tree": self.tree,
            "base": self.base,
            "source": self.source,
            "live": self.live,
            "patches": [patch.to_json() for patch in self.patches],
            "restraint": None if self.restraint is None else self.restraint.to_json(),
        }


@dataclass(frozen=True, slots=True)
class PatchChanges:
    """The imported patches that one of two trees has and the other has not."""

    imported: tuple[LivePatch, ...] = ()
    left_out: tuple[LivePatch, ...] = ()

    @property
    def counts(self) -> list[str]:
        """How many came and how many went, in words; empty where none did."""
        counted = {"imported": len(self.imported), "left out": len(self.left_out)}
        return [
            f"{count} patch{'' if count == 1 else 'es'} {what}"
            for what, count in counted.items()
            if count
        ]

    def to_json(self) -> dict[str, Any]:
        """What every command says of patches with ``--json``."""
        return {
            "imported": [patch.to_json() for patch in self.imported],
            "left_out": [patch.to_json() for patch in self.left_out],
        }


@dataclass(frozen=True, slots=True)
class FactChanges:
    """What differs between two trees, as facts, and as patches that stand for none."""

    added: tuple[Fact, ...]
    removed: tuple[Fact, ...]
    changed: tuple[tuple[Fact, Fact], ...]
    relocated: tuple[Fact, ...]
    """Facts that both trees hold with other numbers (a squash, another recipe)."""
    patches: PatchChanges

    def to_json(self) -> dict[str, Any]:
        """The contract of ``diff --json``, without the norm of the delta."""
        return {
            "added": [fact_json(fact) for fact in self.added],
            "removed": [fact_json(fact) for fact in self.removed],
            "changed": [
                {"before": fact_json(before), "after": fact_json(after)}
                for before, after in self.changed
            ],
            "relocated": [fact_json(fact) for fact in self.relocated],
        } | self.patches.to_json()


def iso_time(seconds: int) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def log_json(row: CommitRow) -> dict[str, Any]:
    """The contract of ``log --json``, for one commit."""
    return {
        "commit": row.id,
        "number": row.number,
        "tree": row.tree,
        "parents": list(row.parents),
        "message": row.message,
        "author": row.author,
        "time": iso_time(row.time),
        "edits": row.edits,
        "live": row.live,
    }


def fact_json(fact: Fact) -> dict[str, Any]:
    """A fact for machine readers: its id and what was written down."""
    return {"fact": fact.id} | {k: v for k, v in fact.to_json().items() if k != "kind"}


def status(repo: Repo) -> Status:
    """Where HEAD is and what it holds."""
    plumbing = repo.repository
    head, base = plumbing.refs.head(), plumbing.config.base
    row = plumbing.graph.row(head.commit) if head.commit is not None else None
    tree = plumbing.read_tree(row.tree) if row else Tree(base=base.id)
    return Status(
        commit=head.commit,
        number=row.number if row else 0,
        branch=head.branch,
        tree=row.tree if row else object_id(codec.encode(tree)),
        base=base.id,
        source=base.model,
        live=row.live if row else 0,
        patches=tuple(live_patch(repo, one) for one in tree.patches),
        restraint=tree.restraint,
    )


def live_patch(repo: Repo, identifier: ObjectId) -> LivePatch:
    """What a patch says of where it comes from."""
    origin = codec.metadata(repo.repository.store.get(identifier))["import"]
    return LivePatch(identifier, origin["kind"], origin["source"], origin["digest"])


def log(repo: Repo, revision: str = "HEAD", limit: int | None = None) -> list[CommitRow]:
    """The commits that a revision (or the range ``A..B``) reaches, newest first."""
    plumbing = repo.repository
    if revision == "HEAD" and plumbing.refs.head().commit is None:
        return []
    if ".." in revision:
        rows = [plumbing.graph.row(one) for one in plumbing.revisions.resolve_range(revision)]
        return rows[::-1][:limit]
    start = plumbing.revisions.resolve(revision)
    return [] if start is None else list(islice(plumbing.graph.log([start]), limit))


def tree_at(repo: Repo, revision: str) -> Tree:
    """The tree of a revision; ``base`` is the unedited model, as HEAD is before any commit."""
    plumbing = repo.repository
    if revision == "HEAD" and plumbing.refs.head().commit is None:
        return plumbing.tree_of(None)
    return plumbing.tree_of(plumbing.revisions.resolve(revision))


def fact_changes(repo: Repo, before: Tree, after: Tree) -> FactChanges:
    """What two trees do not share: facts in slot order, and patches that stand for no fact."""
    plumbing = repo.repository
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    added, removed = ((None, entry) for entry in diff.added), ((old, None) for old in diff.removed)
    steps = [*added, *removed, *diff.changed]
    return fact_changes_of(repo, steps, before.patches, after.patches)


def methods_of(repo: Repo, before: Tree, after: Tree) -> list[str]:
    """The methods by which the edits that ``after`` has and ``before`` has not were made."""
    plumbing = repo.repository
    diff = plumbing.edits_of(before).diff(plumbing.edits_of(after))
    come = [*diff.added, *(new for _, new in diff.changed)]
    recipes = {codec.metadata(plumbing.store.get(entry.located))["recipe"] for entry in come}
    return sorted({plumbing.read_recipe(one).method for one in recipes})


def fact_changes_of(
    repo: Repo,
    steps: Iterable[tuple[Entry | None, Entry | None]],
    before: Iterable[ObjectId],
    after: Iterable[ObjectId],
) -> FactChanges:
    """What changes of slots, given as (entry before, entry after), and of patches mean."""
    added, removed, changed, relocated = [], [], [], []
    read = repo.repository.read_fact
    for old, new in steps:
        if old is None and new is not None:
            added.append(read(new.fact))
        elif old is not None and new is None:
            removed.append(read(old.fact))
        elif old is not None and new is not None and old.fact != new.fact:
            changed.append((read(old.fact), read(new.fact)))
        elif new is not None:
            relocated.append(read(new.fact))
    return FactChanges(
        tuple(added),
        tuple(removed),
        tuple(changed),
        tuple(relocated),
        patch_changes(repo, before, after),
    )


def patch_changes(
    repo: Repo, before: Iterable[ObjectId], after: Iterable[ObjectId]
) -> PatchChanges:
    """What two trees with these patches do not share of them."""
    gone, come = set(before), set(after)
    return PatchChanges(
        imported=tuple(live_patch(repo, one) for one in sorted(come - gone)),
        left_out=tuple(live_patch(repo, one) for one in sorted(gone - come)),
    )


def live_facts(repo: Repo, revision: str = "HEAD") -> dict[SlotId, Fact]:
    """Every live fact of a revision by its slot."""
    plumbing = repo.repository
    edits = plumbing.edits_of(tree_at(repo, revision))
    return {entry.slot: plumbing.read_fact(entry.fact) for entry in edits.entries()}
