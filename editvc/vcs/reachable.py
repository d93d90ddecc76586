"""What is still wanted of the objects: all that anything in the repository leads to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from editvc.core.ids import ObjectId
from editvc.core.methods.table import REFERENCES
from editvc.vcs import codec
from editvc.vcs.config_file import Config
from editvc.vcs.object_links import ELEMENT, Link, links
from editvc.vcs.pending import Pending
from editvc.vcs.repository import Repository
from editvc.vcs.store import DIGITS, ObjectDamaged, ObjectStore

STANDING = ("operation", "settings")
"""Kinds that are kept whatever leads to them: what other lines of operations acknowledged, as
careless copies leave them, and the settings that were in force."""


def config_links(config: Config, store: ObjectStore) -> Iterator[Link]:
    """What config.toml names."""
    yield "base", config.base.id
    if config.base.identity is not None:
        yield "identity", config.base.identity
    yield from links(config.recipe.to_json())
    for values in config.methods.values():
        yield from links({"kind": "recipe", **values})
    if store.contains(config.recipe.id):  # else no edit was located with it yet
        yield "recipe", config.recipe.id


def pending_links(pending: Pending) -> Iterator[Link]:
    """What a merge that waits was made of. Commits that it has made are in no index yet."""
    yield "tree", pending.tree
    kinds = {"base.id": "base", "base.identity": "identity"}
    for name, value in pending.base.items():
        kind = kinds.get(name) or REFERENCES.get(name.partition(".")[2])
        if kind is not None and value is not None:
            yield kind, value
    for sides in pending.conflicts.values():
        for entry in (sides.base, sides.ours, sides.theirs):
            if entry is not None:
                yield from (("fact", entry.fact), (ELEMENT, entry.element))


def roots(repository: Repository) -> set[ObjectId]:
    """The objects that everything wanted can be reached from, beside :data:`STANDING` ones.

    Those of refs, the reflog, operations, settings, a merge that waits, results, and elements that
    the index knows as answers to requests: these were dear to make. Raises what reading settings
    and the merge raises.
    """
    refs, index = repository.refs, repository.index
    found = {*refs.all().values(), *refs.reflog_ids()}
    if (current := repository.operations.current()) is not None:
        found.add(current)
    store = repository.store
    settings = [repository.config_file.load(), *(one for _, one in repository.bases.all())]
    found.update(one for each in settings for _, one in config_links(each, store))
    pending = repository.pending.load()
    if pending is not None:
        found.update(one for _, one in pending_links(pending))
        commits = (pending.began, pending.parent, pending.replayed, *pending.others)
        found.update(one for one in commits if one is not None)
        found.update((*pending.done, *pending.todo))
    found.update(one for _, one in index.all_located())
    with suppress(FileNotFoundError):
        measured = map(ObjectId, filter(DIGITS.fullmatch, os.listdir(repository.results.folder)))
        found.update(one for one in measured if store.contains(one))
    return found


def closure(
    starts: Iterable[ObjectId],
    follow: Callable[[ObjectId], Iterable[ObjectId]],
    reached: dict[ObjectId, None],
) -> None:
    """Add to ``reached`` what can be reached from ``starts``, in the order in which it is met."""
    waiting = list(starts)
    while waiting:
        identifier = waiting.pop()
        if identifier not in reached:
            reached[identifier] = None
            waiting.extend(one for one in follow(identifier) if one not in reached)


class Names:
    """What objects of a store name: by a link, or in any other way, as far as that is there."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.there = set(store.ids())

    def of(self, identifier: ObjectId) -> set[ObjectId]:
        """All that a wanted object needs. Raises ``ObjectDamaged`` where it cannot be read."""
        record = codec.record_of(self.store.get(identifier))
        return {one for _, one in links(record)} | (self.there & set(_ids(record)))

    def of_what_is_there(self, identifier: ObjectId) -> set[ObjectId]:
        """As :meth:`of`, without what is missing or cannot be read."""
        try:
            return self.there & set(_ids(codec.record_of(self.store.get(identifier))))
        except ObjectDamaged:
            return set()

    def kind(self, identifier: ObjectId) -> str | None:
        """The kind of an object; ``None`` where it cannot be read, which is for ``fsck`` to say."""
        try:
            return codec.kind_of(self.store.get(identifier))
        except ObjectDamaged:
            return None


def _ids(value: Any) -> Iterator[ObjectId]:
    """Whatever looks like an id in a record, however deep: kinds to come are kept as well."""
    if isinstance(value, str):
        if DIGITS.fullmatch(value):
            yield ObjectId(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _ids(key)
            yield from _ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
