"""An index for trying things out: what is written to it is kept in memory, for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from editvc.vcs.index import Index
from editvc.vcs.index_file import in_memory


class ScratchIndex(Index):
    """The index ``below``, until the first transaction; from then on a copy of it in memory.

    Rows name objects: those of a scratch store are in memory alone, and rows that outlive them
    would lead to nothing.
    """

    def __init__(self, below: Index) -> None:
        super().__init__(below.path, connection=below.connection)
        self.below = below

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """See :meth:`Index.unrecorded`."""
        if self.connection is self.below.connection:
            with self.guarded():
                self.connection = in_memory(self.below.connection)
        with super().unrecorded():
            yield

    def close(self) -> None:
        """Forget the copy; the index below stays open."""
        if self.connection is not self.below.connection:
            super().close()
