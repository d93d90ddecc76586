"""What a published model carries to be made again: its set of edits, without the history before.

It is a bundle of one commit. Facts that were reverted, who committed what, and all that was said
of it stay in the repository: equal sets have equal weights, however they came about.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from editvc.core.cut import title
from editvc.core.ids import ObjectId
from editvc.session.session import NOBODY, Session
from editvc.vcs.refs import BRANCHES
from editvc.vcs.remotes.bundle_file import write_bundle
from editvc.vcs.remotes.outgoing import Missing, first_document, with_pack
from editvc.vcs.repository import FIRST_BRANCH


def write_set(session: Session, commit: ObjectId, path: Path) -> Path:
    """Write the set of a commit, and all that it stands on, to a bundle; returns its path.

    The one commit in it has no parents and no author. It has no delta either: the weights follow
    from the edits, and the factors would take as much room once more.
    """
    plumbing = session.repository.scratch()
    shown = plumbing.read_commit(commit)
    alone = replace(
        shown,
        parents=(),
        number=1,
        edits=shown.live,
        author=NOBODY,
        message=f"{title(shown.message)}\n\nThe set of commit {commit}, as it was published.",
        delta=None,
        signature=None,
    )
    document, links = first_document(plumbing)
    root = plumbing.write(alone)
    document = replace(document, head=FIRST_BRANCH, refs={BRANCHES + FIRST_BRANCH: root})
    missing = Missing.of(plumbing, (root,), (), links=links)
    with missing.packed(path.parent) as pack:
        sent = [pack.file] if pack is not None else []
        write_bundle(path, with_pack(document, {}, pack), sent, plumbing.files)
    return path
