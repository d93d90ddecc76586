"""The graph of commits, read from the index alone."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from editvc.core.ids import ObjectId, SlotId, short
from editvc.errors import DamageError
from editvc.vcs.index import Index
from editvc.vcs.index_rows import CommitRow


class CommitNotIndexed(DamageError):
    """A commit that a ref or another commit names is not in the index."""

    def __init__(self, identifier: ObjectId) -> None:
        super().__init__(
            f"commit {short(identifier)} is not in the index",
            hint="`editvc reindex` builds the index anew, if the commit's object is there.",
        )
        self.id = identifier


class Graph:
    """Questions about ancestry. A commit may have several parents; the first is the main line."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def row(self, identifier: ObjectId) -> CommitRow:
        """The row of a commit. Raises :class:`CommitNotIndexed`."""
        row = self.index.commit(identifier)
        if row is None:
            raise CommitNotIndexed(identifier)
        return row

    def parents(self, identifier: ObjectId) -> tuple[ObjectId, ...]:
        """The parents of a commit, the main line first."""
        return self.row(identifier).parents

    def first_parents(self, identifier: ObjectId) -> Iterator[CommitRow]:
        """The commit and its first parents, newest first."""
        following: ObjectId | None = identifier
        while following is not None:
            row = self.row(following)
            yield row
            following = row.parents[0] if row.parents else None

    def reachable(self, starts: Iterable[ObjectId]) -> dict[ObjectId, CommitRow]:
        """All commits that can be reached from ``starts``, these included."""
        rows: dict[ObjectId, CommitRow] = {}
        waiting = list(starts)
        while waiting:
            identifier = waiting.pop()
            if identifier not in rows:
                rows[identifier] = self.row(identifier)
                waiting.extend(rows[identifier].parents)
        return rows

    def is_ancestor(self, ancestor: ObjectId, identifier: ObjectId) -> bool:
        """Whether ``ancestor`` is ``identifier`` or can be reached from it."""
        return ancestor in self.reachable([identifier])

    def merge_bases(self, ours: Iterable[ObjectId], theirs: Iterable[ObjectId]) -> set[ObjectId]:
        """The best common ancestors: those that no other common ancestor has among its own."""
        common = self.reachable(ours).keys() & self.reachable(theirs).keys()
        return common - {parent for one in common for parent in self.parents(one)}

    def changed_by(
        self, slots: Iterable[SlotId], starts: Iterable[ObjectId], exclude: Iterable[ObjectId] = ()
    ) -> dict[SlotId, CommitRow]:
        """For each slot the newest commit of :meth:`log` that changed it, where there is one.

        A merge only where no other commit did: it repeats what its other parents brought.
        """
        query = "SELECT commit_id FROM changes WHERE slot = ?"
        rows, found = self.log(starts, exclude), dict[SlotId, CommitRow]()
        for slot in slots:
            changed = {row[0] for row in self.index.rows(query, [slot])}
            by = [row for row in rows if row.id in changed]
            if by:
                found[slot] = next((row for row in by if len(row.parents) < 2), by[0])
        return found

    def log(self, starts: Iterable[ObjectId], exclude: Iterable[ObjectId] = ()) -> list[CommitRow]:
        """What is reachable from ``starts`` but not from ``exclude``, newest first.

        No commit stands before one of its children, whatever the clocks said.
        """
        hidden = self.reachable(exclude)
        return _ordered(
            {key: row for key, row in self.reachable(starts).items() if key not in hidden}
        )

    def newest(self, starts: Iterable[ObjectId]) -> Iterator[CommitRow]:
        """:meth:`log` bit by bit: of a long history, only what is asked for is read.

        Where one commit stands between all that was read and the rest, what was read comes first
        in any order. Unless it holds a beginning, which another line may go back behind.
        """
        met = {start: self.row(start) for start in starts}
        waiting = [_newest_first(row) for row in met.values()]
        heapq.heapify(waiting)
        block, begins = dict[ObjectId, CommitRow](), False
        while waiting:
            if len(waiting) == 1 and not begins:
                yield from _ordered(block)
                block = {}
            identifier = heapq.heappop(waiting)[2]
            row = block[identifier] = met[identifier]
            begins = begins or not row.parents
            for parent in row.parents:
                if parent not in met:
                    met[parent] = self.row(parent)
                    heapq.heappush(waiting, _newest_first(met[parent]))
        yield from _ordered(block)


def _ordered(rows: Mapping[ObjectId, CommitRow]) -> list[CommitRow]:
    """Commits newest first, each behind its children."""
    children = Counter(parent for row in rows.values() for parent in row.parents)
    ready = [_newest_first(row) for key, row in rows.items() if not children[key]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        row = rows[heapq.heappop(ready)[2]]
        ordered.append(row)
        for parent in row.parents:
            children[parent] -= 1
            if parent in rows and not children[parent]:
                heapq.heappush(ready, _newest_first(rows[parent]))
    return ordered


def _newest_first(row: CommitRow) -> tuple[int, int, ObjectId]:
    return (-row.time, -row.number, row.id)
