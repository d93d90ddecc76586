"""The operations of a repository: each transaction that changes refs writes one.

An operation is an object, written when the transaction has done all it does and before it ends, so
that a lost race leaves none. The index names the newest in the same transaction. A process that is
killed between the two leaves an operation that nobody acknowledged, and no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from editvc.core.ids import ObjectId
from editvc.errors import DamageError
from editvc.vcs import codec
from editvc.vcs.index import Index
from editvc.vcs.operation import Operation, View
from editvc.vcs.refs import HEAD, ReflogEntry
from editvc.vcs.store import ObjectStore


class RefsAltered(DamageError):
    """The refs of the index are not where the newest operation left them. ``names`` are those."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"not where the last command left it: {', '.join(names)}",
            hint="`editvc fsck` shows more; `editvc fsck --repair` puts refs back from the "
            "operation log.",
        )
        self.names = names


class OperationLog:
    """The operations that the index's newest one stands on, and the writing of the next."""

    def __init__(self, index: Index, store: ObjectStore) -> None:
        self.index = index
        self.store = store
        self._restores: ObjectId | None = None
        self._written: list[ObjectId] = []

    def current(self) -> ObjectId | None:
        """The newest operation; ``None`` where nothing was written since before there were any."""
        rows = self.index.rows("SELECT id FROM operation")
        return ObjectId(rows[0][0]) if rows else None

    def read(self, identifier: ObjectId) -> Operation:
        """An operation, from its object."""
        return codec.decode_operation(self.store.get(identifier))

    def view(self) -> View:
        """Where HEAD and refs are by the index."""
        rows = self.index.rows("SELECT name, target FROM refs ORDER BY name")
        targets = {str(name): str(target) for name, target in rows}
        head = targets.pop(HEAD, None)
        return View(head, tuple((name, ObjectId(target)) for name, target in targets.items()))

    def moves(self, after: int = 0) -> tuple[ReflogEntry, ...]:
        """The lines of the reflog with a number above ``after``, in order."""
        query = (
            "SELECT ref, old, new, author, time, message FROM reflog "
            "WHERE number > ? ORDER BY number"
        )
        return tuple(ReflogEntry(*row) for row in self.index.rows(query, [after]))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Around all that a transaction does: what it changes of refs becomes an operation.

        A repository without operations gets one that says where it stands first. Raises
        :class:`RefsAltered` for a change that would hide that refs were altered before.
        """
        self._written.clear()
        before = self.view()
        if self.current() is None and before.head is not None:
            self._append(Operation(1, (), before, self.moves()))
        known = self.index.rows("SELECT coalesce(max(number), 0) FROM reflog")[0][0]
        yield
        after, moves = self.view(), self.moves(known)
        if after == before and not moves and self._restores is None:
            return
        parent = self.current()
        if parent is None:
            self._append(Operation(1, (), after, moves))
            return
        last = self.read(parent)
        if altered := differences(last.view, before):
            raise RefsAltered(altered)
        self._append(Operation(last.number + 1, (parent,), after, moves, self._restores))

    @contextmanager
    def restoring(self, identifier: ObjectId) -> Iterator[None]:
        """A transaction that brings the view of another operation back."""
        self._restores = identifier
        try:
            with self.index.transaction():
                yield
        finally:
            self._restores = None

    def _append(self, operation: Operation) -> None:
        identifier = self.store.put(codec.encode(operation))
        self._written.append(identifier)
        set_current(self.index, identifier)

    def withdraw(self) -> None:
        """Remove the operations of a transaction that has failed at its end.

        Only inside a transaction: so nobody writes the same operation meanwhile, and what the
        index stands on now, whoever has written it since, stays.
        """
        current = self.current()
        there = {one for one, _ in self.ancestors(current)} if current is not None else set()
        for identifier in self._written:
            if identifier not in there:
                self.store.remove(identifier)
        self._written.clear()

    def ancestors(self, identifier: ObjectId) -> Iterator[tuple[ObjectId, Operation]]:
        """An operation and those before it, along first parents."""
        following: ObjectId | None = identifier
        while following is not None:
            operation = self.read(following)
            yield following, operation
            following = operation.parents[0] if operation.parents else None


def recorded(index: Index, store: ObjectStore) -> OperationLog:
    """The log of an index each of whose transactions is recorded in it from here on."""
    log = OperationLog(index, store)
    index.recording, index.withdraw = log.recording, log.withdraw
    return log


def set_current(index: Index, identifier: ObjectId) -> None:
    """Make an operation the newest one. Only inside a transaction."""
    index.write("DELETE FROM operation", [()])
    index.write("INSERT INTO operation VALUES (?)", [(identifier,)])


def differences(one: View, other: View) -> list[str]:
    """The names of what two views have in different places."""
    left, right = dict(one.refs), dict(other.refs)
    names = [
        name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)
    ]
    return ([HEAD] if one.head != other.head else []) + names
