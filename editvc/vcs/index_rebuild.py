"""The index from the objects: all of it, or what an older format did not hold.

Refs and HEAD are where the newest operation left them, and the reflog is the lines of the
operations that it stands on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from dataclasses import replace as with_values
from pathlib import Path

from editvc.core.ids import ObjectId, short
from editvc.errors import DamageError
from editvc.vcs import codec
from editvc.vcs.commit_changes import changes_of
from editvc.vcs.index import Index
from editvc.vcs.index_rows import ChangeRow, CommitRow, FactRow
from editvc.vcs.object_links import ELEMENTS
from editvc.vcs.operation import Operation, View
from editvc.vcs.operation_log import OperationLog, differences, set_current
from editvc.vcs.refs import HEAD, SYMBOLIC, ReflogEntry, readable
from editvc.vcs.store import ObjectDamaged, ObjectStore

REPEATED = ("commits", "facts", "changes", "located", "search")
"""The tables that repeat what objects say."""


class NoOperations(DamageError):
    """An index is to be built, and no operation says where the branches were."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} cannot be built anew: no operation is stored that says where branches were",
            hint="Restore index.db from a copy: it is older than the operation log.",
        )
        self.path = path


@dataclass(slots=True)
class Contents:
    """What objects give to the index. ``unread`` are those that cannot be read, with the errors."""

    commits: list[CommitRow] = field(default_factory=list)
    facts: list[FactRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    located: list[tuple[str, ObjectId]] = field(default_factory=list)
    operations: dict[ObjectId, Operation] = field(default_factory=dict)
    unread: dict[ObjectId, ObjectDamaged] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """From how many ``operations`` an index was built, what it ``changed`` in refs, in words, and
    the errors of objects that cannot be read: what the index says of them stays.
    """

    operations: int
    changed: tuple[str, ...]
    damage: tuple[ObjectDamaged, ...]


@dataclass(frozen=True, slots=True)
class _Refs:
    """Where refs shall be, and their reflog. ``operation`` left them there; ``None``: a new one is
    to say so, since those before it are not all there.
    """

    view: View
    moves: tuple[ReflogEntry, ...]
    operation: ObjectId | None


def rebuild(index: Index, store: ObjectStore) -> Rebuilt:
    """Build the index anew from the objects. Reads every byte stored, while other writers wait.

    An index that names its operation stays on the line of that one; what is older than operations
    keeps refs and reflog. Of several lines (copies went apart, and came together) that with the
    most operations is taken, then that with the latest time, then that with the highest id.
    Raises :class:`NoOperations`.
    """
    with index.unrecorded():
        contents = contents_of(store, store.ids())
        replace(index, contents)
        changed = _put_back(index, store, contents.operations)
    return Rebuilt(len(contents.operations), tuple(changed), tuple(contents.unread.values()))


def _put_back(
    index: Index, store: ObjectStore, operations: Mapping[ObjectId, Operation]
) -> list[str]:
    """Put HEAD, refs and reflog where operations have them; returns what changed, in words."""
    log = OperationLog(index, store)
    before = _Refs(log.view(), log.moves(), log.current())
    if not operations and before.view.head is None:
        raise NoOperations(index.path)
    if not operations and before.operation is None:
        return []  # older than operations
    refs = _refs(before, operations)
    _write(index, refs)
    if refs.operation is None:
        number = 1 + max((one.number for one in operations.values()), default=0)
        set_current(index, store.put(codec.encode(Operation(number, (), refs.view, refs.moves))))
    else:
        set_current(index, refs.operation)
    return _in_words(before, refs)


def _refs(before: _Refs, operations: Mapping[ObjectId, Operation]) -> _Refs:
    """Where refs shall be, given where the index has them (nowhere in a new one)."""
    if before.view.head is not None and before.operation not in operations:
        for identifier, operation in operations.items():
            if operation.view == before.view and lines(operations, identifier) == before.moves:
                return _Refs(before.view, before.moves, identifier)
        if before.operation is not None:
            return with_values(before, operation=None)
    newest = heads(operations)
    if before.operation in operations:
        newest = [one for one in newest if before.operation in dict(line(operations, one))]
    chosen = max(newest, key=lambda one: (operations[one].number, operations[one].time, one))
    moves = lines(operations, chosen)
    if moves is None:  # what stood before it is lost
        rest = [move for _, one in line(operations, chosen) for move in reversed(one.moves)]
        return _Refs(operations[chosen].view, before.moves or tuple(reversed(rest)), None)
    return _Refs(operations[chosen].view, moves, chosen)


def _write(index: Index, refs: _Refs) -> None:
    head = [(HEAD, refs.view.head)] if refs.view.head is not None else []
    index.write("DELETE FROM refs", [()])
    index.write("INSERT INTO refs VALUES (?,?)", [*head, *refs.view.refs])
    index.write("DELETE FROM reflog", [()])
    rows = ((number, *astuple(move)) for number, move in enumerate(refs.moves, 1))
    index.write("INSERT INTO reflog VALUES (?,?,?,?,?,?,?)", rows)


def _in_words(before: _Refs, refs: _Refs) -> list[str]:
    was, now = ({HEAD: one.view.head, **dict(one.view.refs)} for one in (before, refs))
    said = [
        f"{readable(name)} is put back from {place(was.get(name))} to {place(now.get(name))}"
        for name in differences(before.view, refs.view)
    ]
    if before.moves != refs.moves:
        said.append(f"the reflog has the {len(refs.moves)} lines that operations wrote")
    if refs.operation is None:
        said.append("operations are missing: the operation log begins anew with this one")
    elif refs.operation != before.operation:
        said.append(f"the index is at operation {short(refs.operation)}")
    return said


def place(target: str | None) -> str:
    """Where a ref is, for people: a short id, the branch of HEAD, or nowhere."""
    if target is None:
        return "nowhere"
    return readable(target.removeprefix(SYMBOLIC)) if target.startswith(SYMBOLIC) else short(target)


def heads(operations: Mapping[ObjectId, Operation]) -> list[ObjectId]:
    """The operations that no other one stands on: more than one where copies went apart."""
    behind = {parent for operation in operations.values() for parent in operation.parents}
    return sorted(operations.keys() - behind)


def line(
    operations: Mapping[ObjectId, Operation], identifier: ObjectId
) -> Iterator[tuple[ObjectId, Operation]]:
    """An operation and those that it stands on, as far as they are there."""
    following: ObjectId | None = identifier
    while following is not None and (operation := operations.get(following)) is not None:
        yield following, operation
        following = operation.parents[0] if operation.parents else None


def lines(
    operations: Mapping[ObjectId, Operation], identifier: ObjectId
) -> tuple[ReflogEntry, ...] | None:
    """The reflog as an operation left it; ``None`` where one that it stands on is missing."""
    behind = [operation for _, operation in line(operations, identifier)]
    if behind[-1].parents:
        return None
    return tuple(move for operation in reversed(behind) for move in operation.moves)


def replace(index: Index, contents: Contents) -> None:
    """Put ``contents`` in the place of all that repeats objects. Only inside a transaction."""
    kept = Contents(
        [row for row in index.commits() if row.id in contents.unread],
        [row for row in index.facts() if row.id in contents.unread],
        [row for row in index.changes() if row.commit_id in contents.unread],
    )
    there = set(contents.located)
    winners = [pair for pair in index.all_located() if pair in there]
    # The full-text index first: what it does not hold cannot be taken out of it.
    index.write("INSERT INTO search_fts (search_fts) VALUES ('rebuild')", [()])
    for table in REPEATED:
        index.write(f"DELETE FROM {table}", [()])
    add(index, kept)
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
            contents.unread[identifier] = error
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
    elif record["kind"] == "operation":
        contents.operations[identifier] = codec.decode_operation(data)
    elif record["kind"] in ELEMENTS and record.get("request") is not None:
        contents.located.append((str(record["request"]), identifier))
