"""How people name commits, as in git: ids, names, ``HEAD~2``, ``main@{1}``, ``A..B``, numbers.

=============  ====================================================================
``3f2a9c``     a commit's id, or its beginning (4 digits or more, if only one fits)
``main``       the newest commit of a branch; ``refs/heads/main`` is the same
``v1``         the commit of a tag; ``refs/tags/v1`` is the same
``origin/main`` where a branch of a remote was when it was fetched or pushed to last
``HEAD, @``    where you are
``12``         commit number 12 on the line of first parents of HEAD
``X~3, X^``    third first parent, first parent; ``X^2`` is the second parent of a merge
``X@{2}``      where the ref was two moves ago; ``@{2}`` means the current branch
``base``       the base model, before any commit
``A..B``       reachable from B but not from A; a missing end is HEAD
``1..500``     commits number 1 to 500, both included
=============  ====================================================================
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from editvc.core.cut import title
from editvc.core.ids import ObjectId, short
from editvc.errors import EditvcError
from editvc.vcs.graph import Graph
from editvc.vcs.index_rows import CommitRow
from editvc.vcs.refs import BRANCHES, HEAD, REMOTES, TAGS, Refs, readable

BASE = "base"
LEAST_DIGITS = 4
MOST_NUMBER_DIGITS = 6
SUFFIX = re.compile(r"~(?P<up>[0-9]*)|\^(?P<parent>[0-9]*)|@\{(?P<ago>[0-9]+)\}")


class RevisionError(EditvcError):
    """A revision that names no commit. ``revision`` is what the user wrote."""

    def __init__(self, revision: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"revision '{revision}': {problem}", hint=hint)
        self.revision = revision


class UnknownRevision(RevisionError):
    """Nothing has that name. ``suggestions`` are names that look like it."""

    def __init__(self, revision: str, name: str, suggestions: list[str]) -> None:
        hint = "See `editvc log`, `editvc branch` and `editvc tag`."
        if suggestions:
            hint = "Did you mean " + " or ".join(f"'{text}'" for text in suggestions) + "?"
        super().__init__(revision, f"no commit, branch, tag or number is named '{name}'", hint=hint)
        self.suggestions = suggestions


class AmbiguousRevision(RevisionError):
    """An abbreviated id that fits several commits, its ``candidates``."""

    def __init__(self, revision: str, name: str, fitting: list[CommitRow]) -> None:
        listed = "; ".join(
            f"{short(row.id)} ({row.number}: {title(row.message)})" for row in fitting[:8]
        )
        super().__init__(
            revision,
            f"'{name}' fits {len(fitting)} commits",
            hint=f"Give more digits. Candidates: {listed}",
        )
        self.candidates = tuple(row.id for row in fitting)


class UnbornBranch(RevisionError):
    """The branch has no commit yet."""

    def __init__(self, revision: str, ref: str) -> None:
        super().__init__(
            revision,
            f"{readable(ref)} has no commit yet",
            hint="Make the first one with `editvc commit FILE -m MESSAGE`; 'base' is the model.",
        )


class EmptyRange(RevisionError):
    """A range without a commit in it."""


class Revisions:
    """Resolves what users write against one repository's refs and commits."""

    def __init__(self, refs: Refs, graph: Graph) -> None:
        self.refs = refs
        self.graph = graph
        self.index = graph.index

    def resolve(self, revision: str) -> ObjectId | None:
        """The commit that ``revision`` names, ``None`` for ``base``.

        Raises :class:`UnknownRevision`, :class:`AmbiguousRevision`, :class:`UnbornBranch` or a
        plain :class:`RevisionError`.
        """
        text = revision.strip()
        if text == BASE:
            return None
        if ".." in text:
            raise RevisionError(
                revision, "is a range where one commit is needed", hint="Name one end of it."
            )
        name = re.split(r"[~^]|@\{", text, maxsplit=1)[0]
        position = len(name)
        if name == BASE:
            raise RevisionError(revision, "there is nothing before the base model")
        ago = SUFFIX.match(text, position)
        if ago is not None and ago["ago"] is not None:
            commit = self._reflog(revision, name, int(ago["ago"]))
            position = ago.end()
        else:
            commit = self._named(revision, name)
        while position < len(text):
            step = SUFFIX.match(text, position)
            if step is None or step["ago"] is not None:
                rest = text[position:]
                raise RevisionError(revision, f"'{rest}' is none of ~N, ^N and @{{N}}")
            commit = self._step(revision, commit, step)
            position = step.end()
        return commit

    def commit(self, revision: str) -> ObjectId:
        """:meth:`resolve` where ``base`` will not do."""
        commit = self.resolve(revision)
        if commit is None:
            raise RevisionError(revision, "is the base model, and a commit is needed")
        return commit

    def resolve_range(self, revision: str) -> list[ObjectId]:
        """The commits of a range on the line of first parents, oldest first; never empty.

        ``A..B`` is as in git, without A and with B. ``1..500``, two numbers, includes both.
        Raises :class:`EmptyRange` and what :meth:`resolve` raises.
        """
        ends = revision.strip().split("..")
        if len(ends) != 2:
            raise RevisionError(
                revision, "is no range", hint="Write A..B, or 1..500 for commits by number."
            )
        first, last = (end.strip() for end in ends)
        if is_number(first) and is_number(last):
            return self._numbered(revision, int(first), int(last))
        start, end = self.resolve(first or HEAD), self.commit(last or HEAD)
        hidden = self.graph.reachable([] if start is None else [start])
        commits = []
        for row in self.graph.first_parents(end):
            if row.id in hidden:
                break
            commits.append(row.id)
        if not commits:
            raise EmptyRange(
                revision,
                f"'{last or HEAD}' adds no commit to '{first or HEAD}'",
                hint=f"Perhaps the other way round: {last or HEAD}..{first or HEAD}",
            )
        return commits[::-1]

    def _numbered(self, revision: str, first: int, last: int) -> list[ObjectId]:
        line = list(self._line(revision))
        numbers = [row.number for row in line]
        if not (min(numbers) <= first and last <= max(numbers)):
            raise RevisionError(
                revision,
                "reaches past the commits there are",
                hint=f"Those on this line are numbered {min(numbers)} to {max(numbers)}.",
            )
        commits = [row.id for row in line if first <= row.number <= last]
        if not commits:
            raise EmptyRange(
                revision, "holds no commit", hint=f"Perhaps the other way round: {last}..{first}"
            )
        return commits[::-1]

    def _line(self, revision: str) -> Iterator[CommitRow]:
        head = self.refs.head()
        if head.commit is None:
            raise self._unborn(revision, head.ref)
        return self.graph.first_parents(head.commit)

    def _unborn(self, revision: str, ref: str) -> UnbornBranch:
        """The error for a branch without a commit; raises ``BranchLost`` where it had one."""
        self.refs.found_head()
        return UnbornBranch(revision, ref)

    def _named(self, revision: str, name: str) -> ObjectId:
        if name in (HEAD, "@"):
            head = self.refs.head()
            if head.commit is None:
                raise self._unborn(revision, head.ref)
            return head.commit
        commit = self.refs.get(self._ref(name))
        if commit is not None:
            return commit
        if is_number(name):
            commit = self._by_number(revision, int(name))
            if commit is not None:
                return commit
        if len(name) >= LEAST_DIGITS and re.fullmatch(r"[0-9a-fA-F]{1,64}", name):
            fitting = self.index.commit_ids(name.lower())
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                rows = [self.graph.row(identifier) for identifier in fitting]
                raise AmbiguousRevision(revision, name, rows)
        if self._ref(name) == self.refs.head().ref:
            raise self._unborn(revision, self._ref(name))
        raise UnknownRevision(revision, name, self._similar(name))

    def _by_number(self, revision: str, number: int) -> ObjectId | None:
        """The commit of a number on the line of HEAD's first parents, along which numbers fall."""
        if not 0 < number <= next(self._line(revision)).number:
            return None
        there = self.index.commits_of_number(number)
        if len(there) == 1:  # the line has one, and there is no other
            return there[0]
        return next((row.id for row in self._line(revision) if row.number == number), None)

    def _ref(self, name: str) -> str:
        if name.startswith("refs/"):
            return name
        places = (TAGS + name, BRANCHES + name, REMOTES + name)
        return next((ref for ref in places if self.refs.get(ref) is not None), BRANCHES + name)

    def _similar(self, name: str) -> list[str]:
        refs = self.refs
        names = [*refs.branches(), *refs.tags(), *refs.remote_branches(), HEAD, BASE]
        folded = {text.casefold(): text for text in names}
        close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
        return [folded[text] for text in close]

    def _step(self, revision: str, commit: ObjectId, step: re.Match[str]) -> ObjectId:
        if step["parent"] is not None:
            number = int(step["parent"] or 1)
            parents = self.graph.parents(commit)
            if number == 0:
                return commit
            if number > len(parents):
                problem = f"{short(commit)} has no parent number {number}"
                raise RevisionError(revision, problem, hint=self._root_hint(parents))
            return parents[number - 1]
        for _ in range(int(step["up"] or 1)):
            parents = self.graph.parents(commit)
            if not parents:
                problem = f"goes past the first commit, {short(commit)}"
                raise RevisionError(revision, problem, hint=self._root_hint(parents))
            commit = parents[0]
        return commit

    @staticmethod
    def _root_hint(parents: tuple[ObjectId, ...]) -> str:
        return "" if parents else "'base' names the model before the first commit."

    def _reflog(self, revision: str, name: str, ago: int) -> ObjectId:
        ref = name if name == HEAD else self._ref(name) if name else self.refs.head().ref
        lines = self.refs.reflog(ref)
        if not lines:
            raise UnknownRevision(revision, name or readable(ref), self._similar(name))
        moves = [line.new for line in lines] + [lines[-1].old]
        commit = moves[ago] if ago < len(moves) else None
        if commit is None:
            raise RevisionError(
                revision,
                f"the reflog of {readable(ref)} does not reach back that far",
                hint=f"{name}@{{{len(lines) - 1}}} is the first entry.",
            )
        return commit


def is_number(text: str) -> bool:
    """Whether ``text`` is read as a commit's number rather than as the beginning of its id."""
    return re.fullmatch(rf"[0-9]{{1,{MOST_NUMBER_DIGITS}}}", text) is not None
