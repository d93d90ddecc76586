"""``fsck``: is every stored byte what was written, and is everything there that is referred to?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Commit
from editvc.core.ids import ObjectId, short
from editvc.core.progress import Progress
from editvc.errors import DamageError, EditvcError
from editvc.vcs import codec, edit_set
from editvc.vcs.commit_changes import changes_of
from editvc.vcs.config_file import Config
from editvc.vcs.fsck_operations import (
    Dangling,
    OtherLine,
    check_operations,
    dangling,
    leads_to,
    node_of,
    operations_in,
    other_lines,
)
from editvc.vcs.index_rows import ChangeRow, CommitRow, FactRow
from editvc.vcs.object_links import ELEMENT, Link, checked_links, fits, links
from editvc.vcs.pending import NAME
from editvc.vcs.reachable import config_links, pending_links
from editvc.vcs.refs import HEAD, readable
from editvc.vcs.repository import Repository
from editvc.vcs.store import DiskStore, ObjectDamaged, ObjectMissing

READERS, BATCH = 8, 64
"""Threads that read objects, and how many one takes at a time."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: an object's id, a ref, a table or a file.

    ``in_index``: building the index anew mends it.
    """

    where: str
    what: str
    in_index: bool = False

    def to_json(self) -> dict[str, str]:
        """For ``fsck --json``."""
        return {"where": self.where, "what": self.what}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. ``garbage`` is harmless: what interrupted or superseded work left behind.

    ``dangling`` are commits that no ref reaches, ``lines`` operations that the current one does
    not stand on; neither is damage.
    """

    errors: tuple[Problem, ...]
    garbage: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    dangling: tuple[Dangling, ...] = ()
    lines: tuple[OtherLine, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """For ``fsck --json``."""
        return {
            "clean": self.clean,
            "errors": [problem.to_json() for problem in self.errors],
            "garbage": list(self.garbage),
            "counts": dict(self.counts),
            "dangling": [commit.to_json() for commit in self.dangling],
            "lines": [line.to_json() for line in self.lines],
        }


@dataclass(slots=True)
class _Check:
    """One run. ``records`` is what each sound object says about itself.

    Not its numbers, and of the many nodes of edit sets only the kind: those are read again.
    """

    repository: Repository
    records: dict[ObjectId, dict[str, Any]] = field(default_factory=dict)
    unsound: set[ObjectId] = field(default_factory=set)
    reached: set[ObjectId] = field(default_factory=set)
    errors: list[Problem] = field(default_factory=list)

    def wrong(self, where: str, what: str) -> None:
        self.errors.append(Problem(where, what))

    def wrong_in_index(self, where: str, what: str) -> None:
        self.errors.append(Problem(where, what, in_index=True))


def fsck(repository: Repository, progress: Progress | None = None) -> Report:
    """Verify every object, everything that refs, reflog and index lead to, and the index itself.

    Reads every byte once. Damage is reported, never raised; only an index that cannot be opened
    at all raises.
    """
    check = _Check(repository)
    for problem in repository.index.problems():
        check.wrong_in_index("index.db", problem)
    # The index as it is now, whoever writes meanwhile: objects come first, so all that it names is
    # there when they are listed.
    with repository.index.snapshot():
        _check_refs(check)
        _read_objects(check, progress)
        _check_packs(check)
        operations = operations_in(check.records)
        check_operations(repository, operations, check.wrong_in_index)
        for where, link in _roots(check):
            _follow(check, where, link)
        _check_histories(check)
        _check_index(check)
        _check_settings(check)
        lost, lines = dangling(repository, check.records), other_lines(repository, operations)
    for name in repository.results.damaged():
        check.wrong(f"results/{name}", "is not what its name says; it may be deleted")
    strays = [str(path.relative_to(repository.folder.parent)) for path in repository.strays()]
    kept = [commit.commit for commit in lost] + [line.operation for line in lines]
    aside = leads_to(kept, check.records, partial(node_of, repository.store))
    unreached = sorted(check.records.keys() - check.reached - aside)
    counts = Counter(str(record["kind"]) for record in check.records.values())
    garbage = (*strays, *unreached)
    return Report(tuple(check.errors), garbage, tuple(sorted(counts.items())), lost, lines)


def _read_objects(check: _Check, progress: Progress | None) -> None:
    """Read every object; one that cannot be read is an error whether anything needs it or not.

    Threads, since reading waits for the disk, and a digest is computed beside other Python.
    """
    from concurrent.futures import ThreadPoolExecutor  # brings logging, which `log` can spare

    store = check.repository.store
    ids = list(store.ids())
    store.packs.all()  # so that each is opened once
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    with ThreadPoolExecutor(READERS) as readers:
        read = chain.from_iterable(readers.map(partial(_read_batch, store), batches))
        for done, (identifier, record) in enumerate(zip(ids, read, strict=True), 1):
            if isinstance(record, ObjectMissing):
                continue  # gc took it since it was listed; what needs it says so
            if isinstance(record, Exception):
                check.unsound.add(identifier)
                check.wrong(identifier, str(record))
            else:
                check.records[identifier] = record
            if progress is not None:
                progress("objects", done, len(ids))


def _read_batch(store: DiskStore, identifiers: list[ObjectId]) -> list[dict[str, Any] | Exception]:
    return [_read_object(store, identifier) for identifier in identifiers]


def _read_object(store: DiskStore, identifier: ObjectId) -> dict[str, Any] | Exception:
    """What a sound object says about itself, or what is wrong with it."""
    try:
        data = store.strictly(identifier)
        record = codec.record_of(data)
        decode = DECODERS.get(str(record["kind"]))
        if decode is not None:
            decode(data)
        checked_links(record)
    except (ObjectDamaged, ValueError) as error:
        return error
    return {"kind": "edits"} if record["kind"] == "edits" else record


def _check_packs(check: _Check) -> None:
    """Every pack is, byte by byte, the one that it is named after."""
    packs = check.repository.store.packs
    for damage in packs.unsound():
        check.wrong(f"pack {damage.path.name}", damage.problem)
    for pack in packs.all():
        if pack.path.name != pack.name or not pack.whole():
            check.wrong(f"pack {pack.path.name}", "does not have the digest that it is named after")


def _decode_base(data: bytes) -> None:
    codec.decode_base(data, source="", revision=None)


DECODERS: dict[str, Callable[[bytes], object]] = {
    "fact": codec.decode_fact,
    "base": _decode_base,
    "identity": codec.decode_identity,
    "recipe": codec.decode_recipe,
    "tree": codec.decode_tree,
    "commit": codec.decode_commit,
    "edits": codec.decode_node,
    "operation": codec.decode_operation,
}


def _check_refs(check: _Check) -> None:
    """Every ref is where its newest reflog line put it, and HEAD's branch is there."""
    refs = check.repository.refs
    places: dict[str, ObjectId | None] = {**refs.all()}
    try:
        places[HEAD] = refs.found_head().commit
    except DamageError as error:
        check.wrong_in_index(HEAD, str(error))
        places.pop(HEAD, None)
    for name, commit in places.items():
        line = refs.newest(name)
        if (line.new if line is not None else None) != commit:
            end = short(line.new) if line is not None and line.new is not None else "nowhere"
            place = short(commit) if commit is not None else "nowhere"
            check.wrong_in_index(readable(name), f"is at {place}, and its reflog ends at {end}")


def _roots(check: _Check) -> Iterator[tuple[str, Link]]:
    """Everything that history starts from, with the place that names it."""
    refs = check.repository.refs
    for name, commit in refs.all().items():
        yield readable(name), ("commit", commit)
    for commit in sorted(refs.reflog_ids()):
        yield "the reflog", ("commit", commit)
    current = check.repository.operations.current()
    if current is not None:
        yield "index.db", ("operation", current)
    try:
        config = check.repository.config_file.load()
    except EditvcError as error:
        check.wrong("config.toml", str(error))
        return
    yield from _configured(check, "config.toml", config)
    yield from _waiting(check)
    try:
        for base, former in check.repository.bases.all():
            yield from _configured(check, f"bases/{base}.toml", former)
    except EditvcError as error:
        check.wrong("bases", str(error))


def _configured(check: _Check, where: str, config: Config) -> Iterator[tuple[str, Link]]:
    """What the settings of a base name."""
    yield from ((where, link) for link in config_links(config, check.repository.store))


def _waiting(check: _Check) -> Iterator[tuple[str, Link]]:
    """What a merge that waits was made of."""
    try:
        pending = check.repository.pending.load()
    except DamageError as error:
        check.wrong(NAME, str(error))
        return
    if pending is not None:
        yield from ((NAME, link) for link in pending_links(pending))


def _follow(check: _Check, where: str, link: Link) -> None:
    """Visit all that a link leads to; each object once, each wrong link reported."""
    waiting = [(where, link)]
    while waiting:
        place, (kind, identifier) = waiting.pop()
        record = check.records.get(identifier)
        if record is None:
            if identifier not in check.unsound:  # those have been reported with their cause
                check.wrong(place, f"needs {kind} {identifier}, which is missing")
                check.unsound.add(identifier)
            continue
        if not fits(kind, record["kind"]):
            check.wrong(place, f"needs a {kind}, but {identifier} is a {record['kind']}")
        if identifier in check.reached:
            continue
        check.reached.add(identifier)
        name = f"{record['kind']} {short(identifier)}"
        if record["kind"] == "edits":
            record = codec.record_of(check.repository.store.get(identifier))
        waiting.extend((name, following) for following in links(record))


def _check_settings(check: _Check) -> None:
    """config.toml is as editvc wrote it last, or as it was accepted by hand."""
    settings = {one for one, record in check.records.items() if record["kind"] == "settings"}
    check.reached |= settings
    if settings and check.repository.config_file.object() not in settings:
        check.wrong(
            "config.toml",
            "is not as editvc wrote it: edited by hand, or damaged. See `editvc config`; "
            "`editvc config --accept` takes it as it is",
        )


def _check_histories(check: _Check) -> None:
    """Every reachable commit counts right, and its set of edits has the one canonical shape."""
    known: dict[tuple[ObjectId, int], edit_set.Extent] = {}
    for identifier in sorted(check.reached):
        record = check.records[identifier]
        if record["kind"] != "commit":
            continue
        tree = check.records.get(record["tree"])
        first = check.records.get(record["parents"][0]) if record["parents"] else {"number": 0}
        if first is not None and record["number"] != first["number"] + 1:
            check.wrong(identifier, f"has number {record['number']} after {first['number']}")
        root = tree["edits"] if tree is not None else None
        try:
            live = edit_set.verify(check.repository.store, root, known).count if root else 0
        except ObjectDamaged:
            continue  # reported when the objects were read
        except edit_set.NotCanonical as error:
            check.wrong(error.id, str(error))
            continue
        if tree is not None and record["live"] != live:
            check.wrong(identifier, f"says {record['live']} live edits, its tree holds {live}")


def _check_index(check: _Check) -> None:
    """The index says what the objects say, and knows every commit that can be reached."""
    repository, records = check.repository, check.records
    rows = {row.id: row for row in repository.index.commits()}
    for identifier in sorted(check.reached):
        if records[identifier]["kind"] == "commit" and identifier not in rows:
            check.wrong_in_index("index.db", f"does not list commit {identifier}")
    for identifier, commit_row in rows.items():
        commit = _agree(check, identifier, kind="commit")
        if commit is not None and commit_row != CommitRow.of(identifier, Commit.from_json(commit)):
            check.wrong_in_index("index.db", f"disagrees with commit {identifier}")
    facts = {row.id: row for row in repository.index.facts()}
    for identifier, fact_row in facts.items():
        fact = _agree(check, identifier, kind="fact")
        if fact is not None and fact_row != FactRow.of(identifier, Fact.from_json(fact)):
            check.wrong_in_index("index.db", f"disagrees with fact {identifier}")
    _check_changes(check, rows)
    _check_texts(check, rows, facts)
    for request, identifier in repository.index.all_located():
        element = _agree(check, identifier, kind=ELEMENT)
        if element is None:
            continue
        if element.get("request") != request:
            check.wrong_in_index(
                "index.db", f"lists {identifier} under a request that it does not answer"
            )
        # Kept for the next time that its fact is committed: it, and what it needs, is no garbage.
        _follow(check, "index.db", (ELEMENT, identifier))


def _check_changes(check: _Check, commits: Mapping[ObjectId, CommitRow]) -> None:
    """The index says of every commit which slots it changed."""
    listed: dict[ObjectId, list[ChangeRow]] = {}
    for change in check.repository.index.changes():
        listed.setdefault(change.commit_id, []).append(change)
    for identifier in sorted(listed.keys() - commits.keys()):
        check.wrong_in_index(
            "index.db", f"lists changes of commit {identifier}, and not the commit"
        )
    for identifier in commits:
        record = check.records.get(identifier)
        if record is None or record["kind"] != "commit":
            continue  # reported when its row was compared
        try:
            changes = changes_of(check.repository.store, identifier, Commit.from_json(record))
        except ObjectDamaged:
            continue  # reported when the objects were read
        if changes != listed.get(identifier, []):
            check.wrong_in_index("index.db", f"disagrees with what commit {identifier} changed")


def _check_texts(
    check: _Check, commits: Mapping[ObjectId, CommitRow], facts: Mapping[ObjectId, FactRow]
) -> None:
    """What a search looks through is what the rows of facts and commits say."""
    texts = {identifier: ("fact", row.text) for identifier, row in facts.items()}
    texts |= {identifier: ("commit", row.text) for identifier, row in commits.items()}
    listed = check.repository.index.texts()
    for identifier, text in texts.items():
        if listed.get(identifier) != text:
            check.wrong_in_index("index.db", f"has another text of {identifier} to search in")


def _agree(check: _Check, identifier: ObjectId, *, kind: str) -> dict[str, Any] | None:
    """The record that a row stands for, if it is there and of its kind."""
    record = check.records.get(identifier)
    if record is None:
        if identifier not in check.unsound:
            check.wrong_in_index("index.db", f"lists {kind} {identifier}, which is missing")
    elif not fits(kind, record["kind"]):
        check.wrong_in_index("index.db", f"lists {record['kind']} {identifier} as a {kind}")
    else:
        return record
    return None
