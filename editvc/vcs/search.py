"""Full-text search in the index: which facts and commits hold all words of a text.

A word is found as a part of a longer one, in either case; all that it consists of is taken as it
stands. Imports sqlite-utils.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlite_utils import Database

from editvc.core.ids import ObjectId
from editvc.vcs.index import Index
from editvc.vcs.index_rows import searchable
from editvc.vcs.index_schema import live_at

GRAM = 3
"""Letters of a trigram: the full-text index knows nothing of shorter words."""


class Search:
    """Searches in one index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.db = Database(index.connection, execute_plugins=False)

    def holding(self, text: str) -> set[ObjectId]:
        """The facts and commits that hold every word of ``text``; all of them where it has none."""
        words = words_of(text)
        with self.index.guarded():
            return {
                ObjectId(row["id"])
                for row in self._candidates(words)
                if all(word in row["text"] for word in words)
            }

    def _candidates(self, words: list[str]) -> Iterator[dict[str, Any]]:
        """Rows among which all that hold the words are."""
        phrases = [quoted(word) for word in words if len(word) >= GRAM]
        table = self.db.table("search")
        return table.search(" ".join(phrases)) if phrases else table.rows

    def live(self, commit: ObjectId) -> dict[ObjectId, ObjectId]:
        """The facts that are live at a commit, each with the commit that brought it."""
        return self._pairs(f"SELECT id, commit_id FROM ({live_at(':commit')})", commit=commit)

    def ever(self) -> dict[ObjectId, ObjectId]:
        """Every fact that a commit ever brought, each with the newest such commit."""
        return self._pairs(
            "SELECT new AS id, commit_id FROM changes JOIN commits ON commits.id = commit_id "
            "WHERE new IS NOT NULL ORDER BY time, number, commit_id"
        )

    def _pairs(self, sql: str, **values: str) -> dict[ObjectId, ObjectId]:
        """Facts with commits; of a fact that comes twice, the later row counts."""
        with self.index.guarded():
            rows = self.db.query(sql, values)
            return {ObjectId(row["id"]): ObjectId(row["commit_id"]) for row in rows}


def words_of(text: str) -> list[str]:
    """The words to look for, in the spelling of the index, each once."""
    # What the command line could not decode has no place in SQLite's text, nor in any fact.
    decodable = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return sorted(set(searchable([decodable]).split()))


def quoted(word: str) -> str:
    """A word as a string of FTS5, in which no character means anything else."""
    return '"' + word.replace('"', '""') + '"'
