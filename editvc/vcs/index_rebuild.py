"""The index from the objects: all that it repeats, or what an older format did not hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from editvc.core.ids import ObjectId
from editvc.vcs import codec
from editvc.vcs.commit_changes import changes_of
from editvc.vcs.index import ChangeRow, CommitRow, FactRow, Index
from editvc.vcs.object_links import ELEMENTS
from editvc.vcs.store import ObjectDamaged, ObjectStore

REPEATED = ("commits", "facts", "changes", "located", "search")
"""The tables that repeat what objects say."""


@dataclass(slots=True)
class Contents:
    """What objects give to the index. ``damage`` holds the errors of those that cannot be read."""

    commits: list[CommitRow] = field(default_factory=list)
    facts: list[FactRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    located: list[tuple[str, ObjectId]] = field(default_factory=list)
    damage: list[ObjectDamaged] = field(default_factory=list)


def rebuild(index: Index, store: ObjectStore) -> list[ObjectDamaged]:
    """Build all tables that repeat objects anew; refs and reflog stay. Reads every byte stored.

    Objects that cannot be read are left out and returned as the errors they gave.
    """
    contents = contents_of(store, store.ids())
    with index.transaction():
        replace(index, contents)
    return contents.damage


def replace(index: Index, contents: Contents) -> None:
    """Put ``contents`` in the place of all that repeats objects. Only inside a transaction."""
    there = set(contents.located)
    winners = [pair for pair in index.all_located() if pair in there]
    # The full-text index first: what it does not hold cannot be taken out of it.
    index.write("INSERT INTO search_fts (search_fts) VALUES ('rebuild')", [()])
    for table in REPEATED:
        index.write(f"DELETE FROM {table}", [()])
    add(index, contents)
    index.add_located(winners + contents.located)  # who came first comes first


def add(index: Index, contents: Contents) -> None:
    """Write facts, commits and changes over what the index says of them. Only in a transaction."""
    index.add_facts(contents.facts)
    index.add_commits(contents.commits)
    index.add_changes(contents.changes)


def contents_of(store: ObjectStore, identifiers: Iterable[ObjectId]) -> Contents:
    """What these objects say."""
    contents = Contents()
    for identifier in identifiers:
        try:
            _read(store, identifier, contents)
        except ObjectDamaged as error:
            contents.damage.append(error)
    return contents


def _read(store: ObjectStore, identifier: ObjectId, contents: Contents) -> None:
    data = store.get(identifier)
    record = codec.record_of(data)
    if record["kind"] == "commit":
        commit = codec.decode_commit(data)
        contents.commits.append(CommitRow.of(identifier, commit))
        contents.changes += changes_of(store, identifier, commit)
    elif record["kind"] == "fact":
        contents.facts.append(FactRow.of(identifier, codec.decode_fact(data)))
    elif record["kind"] in ELEMENTS and record.get("request") is not None:
        contents.located.append((str(record["request"]), identifier))
