"""Branches, tags, HEAD and the reflog: names moved by compare-and-swap, with a line for each move.

Names are stored as in git: ``refs/heads/main``, ``refs/tags/v1``; ``HEAD`` holds
``ref: refs/heads/main``, or a commit's id when detached. A branch without a commit yet (unborn)
has no row. A name is a branch's or a tag's, never both, so that it means one commit everywhere.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass, replace
from typing import ClassVar

from editvc.core.ids import ObjectId, short
from editvc.core.invisible import unseen
from editvc.errors import DamageError, EditvcError
from editvc.vcs.index import Index
from editvc.vcs.index_file import IndexDamaged

HEAD = "HEAD"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
NOTES = "refs/notes/"
REMOTES = "refs/remotes/"
SYMBOLIC = "ref: "
KINDS = {BRANCHES: "branch", TAGS: "tag", REMOTES: "remote-tracking branch"}
RESERVED = ("HEAD", "@", "base")


class BranchNameError(EditvcError):
    """A name that no branch or tag can have. ``name`` is it."""

    def __init__(self, name: str, problem: str, kind: str = "branch") -> None:
        super().__init__(
            f"{name!r} cannot be a {kind} name: {problem}",
            hint="Letters, digits, '-', '_', '.' and '/' between parts are fine: geography/2024.",
        )
        self.name = name


class BranchExists(EditvcError):
    """A branch of that name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a branch named '{name}' already exists",
            hint=f"`editvc switch {name}` goes to it; `editvc branch -d {name}` deletes it.",
        )
        self.name = name


class BranchUnknown(EditvcError):
    """There is no branch of that name. ``known`` are those there are."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"there is no branch '{name}'",
            hint="Branches: " + (", ".join(known) or "none yet, the first commit makes one"),
        )
        self.name = name
        self.known = known


class TagExists(EditvcError):
    """A tag of that name is there already: tags stay where they are."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a tag named '{name}' already exists",
            hint=f"`editvc show {name}` shows its commit; `editvc tag -d {name}` deletes it.",
        )
        self.name = name


class TagUnknown(EditvcError):
    """There is no tag of that name. ``known`` are those there are."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"there is no tag '{name}'",
            hint="Tags: " + (", ".join(known) or "none yet, `editvc tag NAME` makes one"),
        )
        self.name = name
        self.known = known


class BranchInUse(EditvcError):
    """The branch that HEAD is on cannot be deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"cannot delete branch '{name}': HEAD is on it",
            hint="Go to another one first: `editvc switch BRANCH`.",
        )
        self.name = name


class BranchMoved(EditvcError):
    """Somebody else moved the ref first; nothing was changed. ``actual`` is where it is now."""

    exit_code: ClassVar[int] = 5

    def __init__(self, name: str, expected: ObjectId | None, actual: ObjectId | None) -> None:
        was, now = (short(value) if value else "unborn" for value in (expected, actual))
        super().__init__(
            f"{readable(name)} moved from {was} to {now} while this command was at work",
            hint="Another process committed. See `editvc log`, then run the command again.",
        )
        self.name = name
        self.expected = expected
        self.actual = actual


class BranchLost(DamageError):
    """HEAD's branch has no commit, though HEAD has been at one: no repository begins so."""

    def __init__(self, ref: str, last: ObjectId) -> None:
        name = ref.removeprefix(BRANCHES)
        super().__init__(
            f"HEAD is on {readable(ref)}, which has no commit, and was at {short(last)} last",
            hint="`editvc fsck --repair` puts branches back where the last command left them, "
            f"which was {short(last)} for {name}; `editvc fsck` looks at all the rest.",
        )
        self.last = last


@dataclass(frozen=True, slots=True)
class Head:
    """Where HEAD is: on ``branch`` (``None``: detached), at ``commit`` (``None``: unborn)."""

    branch: str | None
    commit: ObjectId | None

    @property
    def ref(self) -> str:
        """The ref that a commit moves: the branch's full name, ``HEAD`` if detached."""
        return HEAD if self.branch is None else BRANCHES + self.branch


@dataclass(frozen=True, slots=True)
class ReflogEntry:
    """One move of a ref, made or to be made.

    ``old`` is ``None`` for its first, ``new`` where it is deleted.
    """

    ref: str
    old: ObjectId | None
    new: ObjectId | None
    author: str
    time: int
    message: str


def readable(ref: str) -> str:
    """``branch 'main'`` for ``refs/heads/main``, ``tag 'v1'`` for ``refs/tags/v1``."""
    for prefix, kind in KINDS.items():
        if ref.startswith(prefix):
            return f"{kind} '{ref.removeprefix(prefix)}'"
    return ref


def check_branch_name(name: str, kind: str = "branch") -> None:
    """Raise :class:`BranchNameError` unless ``name`` may be a branch: git's rules and a few more.

    They hold for tags as well; ``kind`` is what the error calls it.

    Names that are all digits or 64 hex digits are refused, since ``12`` is commit number 12.
    """
    parts = name.split("/")
    if hidden := unseen(name):
        raise BranchNameError(name, f"it {hidden.problem}", kind)
    if not name or name in RESERVED:
        raise BranchNameError(name, "is a reserved word" if name else "it is empty", kind)
    if special := re.search(r"[\s~^:?*\[\\]|\.\.|@\{", name):
        raise BranchNameError(name, f"{special[0]!r} means something else in a revision", kind)
    if any(not part or part.startswith(".") or part.endswith((".lock", ".")) for part in parts):
        raise BranchNameError(
            name, "a part is empty, starts or ends with '.', or ends in '.lock'", kind
        )
    if name.startswith("-"):
        raise BranchNameError(name, "it would be read as an option", kind)
    if re.fullmatch(r"[0-9]+|[0-9a-f]{64}", name):
        raise BranchNameError(name, "it would be read as a commit", kind)


class Refs:
    """The refs of one repository. Every change is one transaction with its reflog line."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def _target(self, name: str) -> str | None:
        rows = self.index.rows("SELECT target FROM refs WHERE name = ?", [name])
        return str(rows[0][0]) if rows else None

    def _put(self, name: str, target: str | None) -> None:
        if target is None:
            self.index.write("DELETE FROM refs WHERE name = ?", [(name,)])
        else:
            self.index.write("INSERT OR REPLACE INTO refs VALUES (?,?)", [(name, target)])

    def get(self, name: str) -> ObjectId | None:
        """The commit a ref points to: ``HEAD`` (followed) or a full name, ``None`` if unborn."""
        target = self._target(name)
        if target is not None and target.startswith(SYMBOLIC):
            target = self._target(target.removeprefix(SYMBOLIC))
        return ObjectId(target) if target is not None else None

    def head(self) -> Head:
        """Where HEAD is."""
        target = self._target(HEAD)
        if target is None:
            raise IndexDamaged(self.index.path, "holds no HEAD")
        if not target.startswith(SYMBOLIC):
            return Head(None, ObjectId(target))
        ref = target.removeprefix(SYMBOLIC)
        return Head(ref.removeprefix(BRANCHES), self.get(ref))

    def branches(self) -> dict[str, ObjectId]:
        """All branches with their commits, by name."""
        return self._below(BRANCHES)

    def tags(self) -> dict[str, ObjectId]:
        """All tags with their commits, by name."""
        return self._below(TAGS)

    def remote_branches(self, remote: str = "") -> dict[str, ObjectId]:
        """The branches of a remote as they were seen last, by name; of all by ``REMOTE/NAME``."""
        return self._below(REMOTES + (f"{remote}/" if remote else ""))

    def _below(self, prefix: str) -> dict[str, ObjectId]:
        return {
            name.removeprefix(prefix): commit
            for name, commit in self.all().items()
            if name.startswith(prefix)
        }

    def all(self) -> dict[str, ObjectId]:
        """Every ref that points to a commit, by full name; HEAD only when detached."""
        rows = self.index.rows("SELECT name, target FROM refs ORDER BY name")
        return {name: ObjectId(target) for name, target in rows if not target.startswith(SYMBOLIC)}

    def initialise(self, branch: str) -> None:
        """Put HEAD on an unborn branch: the state of a fresh repository."""
        check_branch_name(branch)
        with self.index.transaction():
            self._put(HEAD, SYMBOLIC + BRANCHES + branch)

    def move(self, entry: ReflogEntry) -> None:
        """Move a ref from ``entry.old`` to ``entry.new`` by compare-and-swap, and log it.

        ``ref`` is a full name, or ``HEAD`` when detached. HEAD's reflog gets the moves of its
        branch too. Raises :class:`BranchMoved`. Only inside :meth:`Index.transaction`.
        """
        head, actual = self.head(), self.get(entry.ref)
        if actual != entry.old or (entry.ref == HEAD and head.branch is not None):
            raise BranchMoved(entry.ref, entry.old, actual)
        self._put(entry.ref, entry.new)
        self._log(entry)
        if entry.ref != HEAD and head.ref == entry.ref:
            self._log(replace(entry, ref=HEAD))

    def _log(self, entry: ReflogEntry) -> None:
        self.index.write(
            "INSERT INTO reflog (ref, old, new, author, time, message) VALUES (?,?,?,?,?,?)",
            [astuple(entry)],
        )

    def found_head(self) -> Head:
        """Where HEAD is. Raises :class:`BranchLost` where it has no commit any more but had one."""
        head = self.head()
        if head.commit is None and (line := self.newest(HEAD)) is not None and line.new is not None:
            raise BranchLost(head.ref, line.new)
        return head

    def newest(self, name: str) -> ReflogEntry | None:
        """The last move of a ref (full name or ``HEAD``)."""
        return next(iter(self.reflog(name)), None)

    def reflog(self, name: str) -> list[ReflogEntry]:
        """The moves of a ref (full name or ``HEAD``), newest first."""
        query = (
            "SELECT ref, old, new, author, time, message FROM reflog "
            "WHERE ref = ? ORDER BY number DESC"
        )
        return [ReflogEntry(*row) for row in self.index.rows(query, [name])]

    def reflog_ids(self) -> set[ObjectId]:
        """Every commit that any reflog line names: what ``gc`` must keep."""
        rows = self.index.rows("SELECT old FROM reflog UNION SELECT new FROM reflog")
        return {ObjectId(row[0]) for row in rows if row[0] is not None}

    def create_branch(self, name: str, commit: ObjectId, *, author: str, time: int) -> None:
        """Make a branch. Raises :class:`BranchNameError` or what :meth:`require_free` raises."""
        with self.index.transaction():
            self._create_branch(name, commit, author, time)

    def start_branch(self, name: str, commit: ObjectId, *, author: str, time: int) -> None:
        """:meth:`create_branch` and :meth:`switch` to it, both or neither."""
        with self.index.transaction():
            self._create_branch(name, commit, author, time)
            self._switch(name, author, time)

    def _create_branch(self, name: str, commit: ObjectId, author: str, time: int) -> None:
        check_branch_name(name)
        self.require_free(name)
        message = f"branch: created at {short(commit)}"
        self.move(ReflogEntry(BRANCHES + name, None, commit, author, time, message))

    def delete_branch(self, name: str, *, author: str, time: int) -> ObjectId:
        """Delete a branch and return where it was; its reflog stays."""
        with self.index.transaction():
            old = self.get(BRANCHES + name)
            if old is None:
                raise BranchUnknown(name, list(self.branches()))
            if self.head().branch == name:
                raise BranchInUse(name)
            self.move(ReflogEntry(BRANCHES + name, old, None, author, time, "branch: deleted"))
        return old

    def create_tag(self, name: str, commit: ObjectId, *, author: str, time: int) -> None:
        """Make a tag. Raises :class:`BranchNameError` or what :meth:`require_free` raises."""
        check_branch_name(name, "tag")
        message = f"tag: created at {short(commit)}"
        with self.index.transaction():
            self.require_free(name)
            if name == self.head().branch:  # which has its name before it has a commit
                raise BranchExists(name)
            self.move(ReflogEntry(TAGS + name, None, commit, author, time, message))

    def delete_tag(self, name: str, *, author: str, time: int) -> ObjectId:
        """Delete a tag and return where it was; its reflog stays."""
        with self.index.transaction():
            old = self.get(TAGS + name)
            if old is None:
                raise TagUnknown(name, list(self.tags()))
            self.move(ReflogEntry(TAGS + name, old, None, author, time, "tag: deleted"))
        return old

    def require_free(self, name: str) -> None:
        """Raise :class:`BranchExists` or :class:`TagExists` where a name is taken."""
        if self.get(BRANCHES + name) is not None:
            raise BranchExists(name)
        if self.get(TAGS + name) is not None:
            raise TagExists(name)

    def switch(self, branch: str, *, author: str, time: int) -> None:
        """Put HEAD on an existing branch. Raises :class:`BranchUnknown`."""
        with self.index.transaction():
            if self.get(BRANCHES + branch) is None:
                raise BranchUnknown(branch, list(self.branches()))
            self._switch(branch, author, time)

    def _switch(self, branch: str, author: str, time: int) -> None:
        line = ReflogEntry(HEAD, None, None, author, time, f"switch: to {branch}")
        self.point_head(SYMBOLIC + BRANCHES + branch, line)

    def detach(self, commit: ObjectId, *, author: str, time: int) -> None:
        """Put HEAD on a commit itself, on no branch."""
        with self.index.transaction():
            line = ReflogEntry(HEAD, None, None, author, time, f"switch: to {short(commit)}")
            self.point_head(commit, line)

    def point_head(self, target: str, line: ReflogEntry) -> None:
        """Give HEAD a target as it is stored, and log ``line`` with the commits it moves between.

        Only inside :meth:`Index.transaction`.
        """
        old = self.head().commit
        self._put(HEAD, target)
        self._log(replace(line, ref=HEAD, old=old, new=self.head().commit))
