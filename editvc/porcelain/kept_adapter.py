"""The adapter of a revision in a folder of many: for servers that ask for one by name."""

from __future__ import annotations

from pathlib import Path

from editvc.core.ids import object_id
from editvc.interchange.manifest import read_manifest, strangers
from editvc.porcelain.export import export
from editvc.session.session import Session
from editvc.session.trees import commit_at
from editvc.vcs.codec import encode
from editvc.version import __version__


def kept_adapter(session: Session, revision: str, among: Path) -> Path:
    """The folder of a revision's PEFT adapter in the folder ``among``, named by its tree's id.

    It is exported, and checked as any export is, unless it is there as this version of editvc wrote
    it. Raises what :func:`editvc.porcelain.export.export` raises: for gated edits
    :class:`editvc.porcelain.export.NeedsNeurons`, without any edit
    :class:`editvc.interchange.peft_writer.AdapterError`.
    """
    commit = commit_at(session, revision)
    tree = session.repository.tree_of(commit)
    folder = among / object_id(encode(tree))
    if not _whole(folder):
        # By the commit's id: a branch may have moved since.
        export(session, folder, format="lora", revision=commit or "base", replace=True)
    return folder


def _whole(folder: Path) -> bool:
    record = read_manifest(folder)
    return record is not None and record.get("editvc") == __version__ and not strangers(folder)
