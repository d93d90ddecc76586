"""What ``fsck`` asks of the operation log, and what it finds that no ref reaches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from editvc.core.ids import ObjectId
from editvc.vcs import codec
from editvc.vcs.index_rebuild import heads, line, lines, place
from editvc.vcs.object_links import links
from editvc.vcs.operation import Operation, View
from editvc.vcs.operation_log import differences
from editvc.vcs.refs import (
    BRANCHES,
    HEAD,
    NOTES,
    SYMBOLIC,
    BranchNameError,
    ReflogEntry,
    check_branch_name,
    readable,
)
from editvc.vcs.repository import Repository
from editvc.vcs.store import DIGITS, ObjectMissing, ObjectStore

Records = Mapping[ObjectId, Mapping[str, Any]]
Wrong = Callable[[str, str], None]
"""Called with where something is wrong, and what."""


@dataclass(frozen=True, slots=True)
class Dangling:
    """The last of commits that no ref reaches. ``indexed``: whether the index knows it, as
    ``editvc branch NAME COMMIT``, which brings it back, needs it to.
    """

    commit: ObjectId
    number: int
    time: int
    message: str
    indexed: bool

    def to_json(self) -> dict[str, Any]:
        """For ``fsck --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OtherLine:
    """The last operation of a line that the current one does not stand on, as copies leave it."""

    operation: ObjectId
    number: int
    time: int
    message: str

    def to_json(self) -> dict[str, Any]:
        """For ``fsck --json``."""
        return asdict(self)


def operations_in(records: Records) -> dict[ObjectId, Operation]:
    """The sound operations among the records of objects."""
    return {
        identifier: Operation.from_json(dict(record))
        for identifier, record in records.items()
        if record["kind"] == "operation"
    }


def check_operations(
    repository: Repository, operations: Mapping[ObjectId, Operation], wrong: Wrong
) -> None:
    """Refs are where the newest operation left them, reflog lines are those that operations wrote,
    and every operation that it stands on is there. A repository older than operations has none.
    """
    log = repository.operations
    view, current = log.view(), log.current()
    _check_names(view, wrong)
    if current is None:
        if operations:
            wrong("index.db", f"names no operation, and {len(operations)} are stored")
        return
    if current not in operations:
        wrong("index.db", f"is at operation {current}, which cannot be read")
        return
    expected = operations[current].view
    was, now = ({HEAD: one.head, **dict(one.refs)} for one in (expected, view))
    for name in differences(expected, view):
        wrong(
            readable(name),
            f"is at {place(now.get(name))}, and the last operation left it at "
            f"{place(was.get(name))}",
        )
    for identifier, operation in line(operations, current):
        before = [operations[one].number for one in operation.parents if one in operations]
        if before and operation.number != before[0] + 1:
            wrong(identifier, f"is operation {operation.number} after {before[0]}")
    written = lines(operations, current)
    if written is None:
        wrong("the operation log", "has a gap: an operation that others stand on cannot be read")
    else:
        _check_reflog(repository, written, wrong)


def _check_names(view: View, wrong: Wrong) -> None:
    names = [name for name, _ in view.refs]
    if view.head is not None and view.head.startswith(SYMBOLIC):
        names.append(view.head.removeprefix(SYMBOLIC))
    elif view.head is not None and not DIGITS.fullmatch(view.head):
        wrong(HEAD, f"is at {view.head!a}, which is neither a branch nor a commit")
    for name in names:
        if name.startswith(NOTES) and DIGITS.fullmatch(name.removeprefix(NOTES)):
            continue  # a note goes by the id of its commit
        parts = re.fullmatch(r"refs/[a-z]+/(.*)", name, re.DOTALL)
        try:
            check_branch_name(parts[1] if parts else name.removeprefix(BRANCHES))
        except BranchNameError as error:
            wrong(ascii(name), str(error))
        else:
            if parts is None:
                wrong(ascii(name), "is no name of a ref")


def _check_reflog(repository: Repository, written: tuple[ReflogEntry, ...], wrong: Wrong) -> None:
    """Each line of the reflog is the one that an operation wrote, under its number."""
    rows = repository.index.rows("SELECT * FROM reflog ORDER BY number")
    there = {int(row[0]): ReflogEntry(*row[1:]) for row in rows}
    for number, move in enumerate(written, 1):
        if number not in there:
            wrong("the reflog", f"lacks line {number}, {move.message!a} of {readable(move.ref)}")
        elif there[number] != move:
            wrong("the reflog", f"has another line {number} than an operation wrote")
    for number in sorted(there.keys() - set(range(1, len(written) + 1))):
        wrong("the reflog", f"has a line {number}, which no operation wrote")


def other_lines(
    repository: Repository, operations: Mapping[ObjectId, Operation]
) -> tuple[OtherLine, ...]:
    """The last operation of each line that the current one is not on."""
    current = repository.operations.current()
    behind = {identifier for identifier, _ in line(operations, current)} if current else set()
    return tuple(
        OtherLine(one, operations[one].number, operations[one].time, operations[one].message)
        for one in heads(operations)
        if one not in behind
    )


def dangling(repository: Repository, records: Records) -> tuple[Dangling, ...]:
    """The commits that neither a ref nor a commit which no ref reaches leads to; newest first."""
    commits = {one: record for one, record in records.items() if record["kind"] == "commit"}
    reached, waiting = set[ObjectId](), [*repository.refs.all().values()]
    while waiting:
        identifier = waiting.pop()
        if identifier in commits and identifier not in reached:
            reached.add(identifier)
            waiting.extend(commits[identifier]["parents"])
    lost = {one: record for one, record in commits.items() if one not in reached}
    inner = {parent for record in lost.values() for parent in record["parents"]}
    tips = (
        Dangling(
            one,
            record["number"],
            record["time"],
            record["message"],
            repository.index.commit(one) is not None,
        )
        for one, record in lost.items()
        if one not in inner
    )
    return tuple(sorted(tips, key=lambda one: (-one.time, -one.number, one.commit)))


def leads_to(
    starts: Iterable[ObjectId],
    records: Records,
    whole: Callable[[ObjectId], Mapping[str, Any] | None],
) -> set[ObjectId]:
    """All objects that some objects need, as far as they are there.

    ``whole`` reads the record of a node of an edit set, of which ``records`` has the kind alone; it
    gives None for one that has gone since.
    """
    reached, waiting = set[ObjectId](), list(starts)
    while waiting:
        identifier = waiting.pop()
        if identifier in records and identifier not in reached:
            reached.add(identifier)
            known = records[identifier]
            record = whole(identifier) if known["kind"] == "edits" else known
            if record is not None:
                waiting.extend(following for _, following in links(dict(record)))
    return reached


def node_of(store: ObjectStore, node: ObjectId) -> dict[str, Any] | None:
    """What a node of an edit set says; None where ``gc`` has taken it since it was verified."""
    try:
        return codec.record_of(store.get(node))
    except ObjectMissing:
        return None
