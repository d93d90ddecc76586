"""``notes``: words about a commit that were found later, and change none of its bytes.

A note is an empty commit on the commit that it is about, kept by the ref ``refs/notes/ID``: so
whatever keeps, checks, moves or sends commits does the same for notes (docs/adr/0025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.history import Commit
from editvc.core.ids import ObjectId, short
from editvc.core.invisible import require_visible
from editvc.errors import EditvcError
from editvc.porcelain.log import iso_time
from editvc.session.session import Session
from editvc.vcs.index_rows import CommitRow
from editvc.vcs.refs import NOTES, ReflogEntry


class NoteError(EditvcError):
    """A note that is there already, that is not there, or that says nothing."""


@dataclass(frozen=True, slots=True)
class Note:
    """What ``author`` wrote about a commit, in seconds since the epoch."""

    about: CommitRow
    text: str
    author: str
    time: int

    def to_json(self) -> dict[str, Any]:
        """For ``notes --json``."""
        return {
            "commit": self.about.id,
            "number": self.about.number,
            "note": self.text,
            "author": self.author,
            "time": iso_time(self.time),
        }


def add_note(
    session: Session, revision: str, text: str, *, author: str, replace: bool = False
) -> Note:
    """Write a note about a commit; with ``replace`` in the place of the one that is there.

    Raises :class:`NoteError`, and ``BranchMoved`` where another process was faster.
    """
    require_visible(note=text)
    if not text.strip():
        raise NoteError("the note is empty", hint="Say something: -m TEXT.")
    plumbing = session.repository
    about = plumbing.graph.row(plumbing.revisions.commit(revision))
    ref = NOTES + about.id
    old = plumbing.refs.get(ref)
    if old is not None and not replace:
        raise NoteError(
            f"commit {short(about.id)} has a note already",
            hint="`editvc notes show` shows it, --force writes over it.",
        )
    commit = Commit(
        tree=about.tree,
        parents=(about.id,),
        author=author,
        time=session.clock(),
        message=text,
        number=about.number + 1,
        edits=0,
        live=about.live,
        delta=None,
    )
    plumbing.record(commit, expected=old, ref=ref, message=f"notes: about {short(about.id)}")
    return Note(about, text, author, commit.time)


def note_about(session: Session, revision: str) -> Note:
    """The note about a commit. Raises :class:`NoteError` where there is none."""
    plumbing = session.repository
    about = plumbing.revisions.commit(revision)
    found = plumbing.refs.get(NOTES + about)
    if found is None:
        raise _missing(about)
    return _note(session, found)


def remove_note(session: Session, revision: str, *, author: str) -> Note:
    """Take the note about a commit away. Raises :class:`NoteError` where there is none."""
    plumbing = session.repository
    about = plumbing.revisions.commit(revision)
    ref, time = NOTES + about, session.clock()
    with plumbing.index.transaction():
        old = plumbing.refs.get(ref)
        if old is None:
            raise _missing(about)
        plumbing.refs.move(ReflogEntry(ref, old, None, author, time, "notes: removed"))
    return _note(session, old)


def notes(session: Session) -> list[Note]:
    """All notes, by the number of their commits."""
    found = session.repository.refs.all()
    listed = [_note(session, commit) for ref, commit in found.items() if ref.startswith(NOTES)]
    return sorted(listed, key=lambda note: (note.about.number, note.about.id))


def _note(session: Session, commit: ObjectId) -> Note:
    graph = session.repository.graph
    row = graph.row(commit)
    return Note(graph.row(row.parents[0]), row.message, row.author, row.time)


def _missing(about: ObjectId) -> NoteError:
    return NoteError(
        f"commit {short(about)} has no note",
        hint="`editvc notes add REV -m TEXT` writes one; `editvc notes` lists those there are.",
    )
