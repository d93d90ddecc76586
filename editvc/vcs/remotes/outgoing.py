"""What goes to a remote: one pack of all that it lacks, and the document that lists it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from editvc.core.ids import ObjectId
from editvc.vcs.config_file import ConfigFile, settings_object
from editvc.vcs.object_links import ELEMENTS, Link
from editvc.vcs.packs import write_pack
from editvc.vcs.reachable import config_links
from editvc.vcs.remotes.document import Document, Listed
from editvc.vcs.remotes.shared_settings import shared_text
from editvc.vcs.remotes.walk import common_behind, known_behind, news, objects_behind
from editvc.vcs.repository import Repository
from editvc.vcs.store import PACKS

OF_COMMITS = ("commit", "delta", "tree", "edits", "fact", *ELEMENTS)
"""Kinds of objects of which each commit brings its own."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A pack that is ready to be sent: how it is listed there, its file here, and the kinds of
    what is in it that many commits stand on.
    """

    listed: Listed
    file: Path
    common: Mapping[ObjectId, str]


def first_document(repository: Repository) -> tuple[Document, list[Link]]:
    """The document of a remote that begins now, without refs, and what a clone needs besides them.

    The settings that it names are put into the repository's store: into memory, of a scratch one.
    """
    base, links = _shared(repository, repository.config_file)
    head = repository.refs.head().branch or "main"
    document, more = with_former_bases(repository, Document(base, links[0][1], head))
    return document, links + more


def with_former_bases(repository: Repository, document: Document) -> tuple[Document, list[Link]]:
    """A document that also has the settings of bases that were in force here before, where it has
    none of them, and what these need. They are stored as those of :func:`first_document` are.
    """
    former, links = dict(document.former), list[Link]()
    for file in repository.bases.files():
        base, needed = _shared(repository, file)
        if base != document.base and base not in former:
            former[base] = needed[0][1]
            links += needed
    return replace(document, former=former), links


def _shared(repository: Repository, file: ConfigFile) -> tuple[ObjectId, list[Link]]:
    """The base of a configuration, and links to its settings, as they are shared, and to all that
    these name.
    """
    config = file.load()
    beside = repository.folder.parent / Path(config.base.model).expanduser()
    text = shared_text(file.text(), in_folder=beside.is_dir())
    settings = repository.store.put(settings_object(text.encode()))
    return config.base.id, [("settings", settings), *config_links(config, repository.store)]


@dataclass(slots=True)
class Missing:
    """All that ``tips`` and ``links`` need and that is neither behind commits ``there`` nor in
    ``common``.

    ``commits`` are those that are new there. Raises ``ObjectDamaged`` and ``NotSound``: what is
    damaged here is not sent.
    """

    repository: Repository
    tips: tuple[ObjectId, ...]
    links: list[Link]
    known: dict[ObjectId, str]
    commits: int

    @classmethod
    def of(
        cls,
        repository: Repository,
        tips: Iterable[ObjectId],
        there: Iterable[ObjectId],
        common: Mapping[ObjectId, str] | None = None,
        links: Iterable[Link] = (),
    ) -> Missing:
        """Walk the commits; trees are walked when the objects are asked for.

        Without ``common`` it is what the elements of the commits that both have stand on.
        """
        ordered, reached = tuple(sorted(set(tips))), repository.graph.reachable(there)
        new = news(repository.store, ordered, lambda commit: commit in reached)
        wanted: list[Link] = [*links, *(("commit", commit) for commit in new.commits)]
        known = known_behind(repository.store, new.boundary) if wanted else {}
        if common is None:
            common = common_behind(repository.store, known)
        return cls(repository, ordered, wanted, {**known, **common}, len(new.commits))

    def objects(self, common: dict[ObjectId, str]) -> Iterator[tuple[ObjectId, bytes]]:
        """The objects, each once; those that many commits stand on are noted in ``common``."""
        for one in objects_behind(self.repository.store, self.links, self.known):
            if one.kind not in OF_COMMITS:
                common[one.id] = one.kind
            yield one.id, one.data

    def measure(self) -> int:
        """The bytes of the pack; none is written."""
        if not self.links:
            return 0
        counting = _Counting()
        write_pack(cast(BinaryIO, counting), self.objects({}))
        return counting.size

    @contextmanager
    def packed(self, folder: Path | None = None) -> Iterator[Outgoing | None]:
        """The pack, in a file that is taken away at the end; ``None`` where nothing is missing.

        It is in ``folder``, or among the repository's own.
        """
        if not self.links:
            yield None
            return
        store, common = self.repository.store, dict[ObjectId, str]()
        digest, draft = self.repository.files.draft(
            folder or store.folder / PACKS, lambda stream: write_pack(stream, self.objects(common))
        )
        try:
            yield Outgoing(Listed(digest, draft.stat().st_size, self.tips), draft, common)
        finally:
            draft.unlink(missing_ok=True)


class _Counting(io.RawIOBase):
    """Takes bytes, and keeps how many."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def with_pack(
    document: Document, refs: Mapping[str, ObjectId | None], pack: Outgoing | None
) -> Document:
    """A document with refs moved, ``None`` for those that go, and with one more pack."""
    moved = {**document.refs, **refs}
    left = {ref: commit for ref, commit in moved.items() if commit is not None}
    document = replace(document, refs=left)
    if pack is None or pack.listed.id in {one.id for one in document.packs}:
        return document
    common = {**document.common, **pack.common}
    return replace(document, packs=(*document.packs, pack.listed), common=common)
