"""A repository on disk: objects, refs, index and configuration under one ``.editvc`` folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel, Identity
from editvc.core.facts import Fact
from editvc.core.history import Commit, Tree
from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.trust import Trust
from editvc.errors import EditvcError
from editvc.vcs import codec, config_file
from editvc.vcs.cache import Cache
from editvc.vcs.commit_changes import changes_of
from editvc.vcs.draft_config import DraftConfig
from editvc.vcs.edit_set import EditSet
from editvc.vcs.files import Fault, Files, temporaries, unique
from editvc.vcs.graph import Graph
from editvc.vcs.index import VERSION, Index
from editvc.vcs.index_file import IndexMissing
from editvc.vcs.index_rows import CommitRow, FactRow
from editvc.vcs.known_bases import KnownBases, OverAnotherBase
from editvc.vcs.operation_log import recorded
from editvc.vcs.pending import PendingFile
from editvc.vcs.refs import ReflogEntry, Refs
from editvc.vcs.remote_sections import RemoteSection
from editvc.vcs.results import Results
from editvc.vcs.revisions import Revisions
from editvc.vcs.scratch_index import ScratchIndex
from editvc.vcs.store import DiskStore, ScratchStore

FOLDER = ".editvc"
FIRST_BRANCH = "main"

MOST_NODES = 2000
"""Nodes of edit sets that are kept in memory: each has 32 entries at most, in 20 KB."""


class NotARepository(EditvcError):
    """Neither the folder nor one above it holds a repository."""

    def __init__(self, start: Path) -> None:
        super().__init__(
            f"not an editvc repository (or any of the parent directories of {start}): {FOLDER}",
            hint="Make one with `editvc init MODEL`, or name its folder with -C DIR.",
        )
        self.start = start


class RepositoryExists(EditvcError):
    """The folder holds a repository already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"there is a repository already: {folder}",
            hint="See it with `editvc status`, or choose another folder with -C DIR.",
        )
        self.folder = folder


def folder_at(start: Path, trust: Trust | None = None) -> Path:
    """The nearest ``.editvc`` at or above ``start``.

    Raises :class:`NotARepository`, and ``DubiousOwnership`` for one that is nobody's in ``trust``,
    by default this process's user's.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            (trust or Trust()).require(folder / FOLDER)
            return folder / FOLDER
    raise NotARepository(here)


class Repository:
    """Plumbing of one repository. ``folder`` is the ``.editvc`` itself.

    Attributes: ``files``, ``store``, ``index``, ``refs``, ``operations``, ``graph``, ``revisions``,
    ``cache``, ``results``, ``pending``, ``bases``, and ``config_file``; ``config`` is the checked
    configuration, read on first use. ``remark`` hears where the index had to be built anew.
    """

    def __init__(
        self,
        folder: Path,
        fault: Fault | None = None,
        remark: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self.files = Files(fault)
        self.store = DiskStore(folder / "objects", self.files)
        self.index = self._open_index(remark)
        self._read_index()
        self.cache = Cache(folder / "cache", self.files)
        self.results = Results(folder / "results", self.files)
        self.pending = PendingFile(folder, self.files)
        self.config_file = config_file.ConfigFile(folder / "config.toml", self.files, self.store)
        self.bases = KnownBases(folder / "bases", self.config_file)

    @classmethod
    def create(
        cls,
        work: Path,
        *,
        base: BaseModel,
        recipe: LocatedRecipe,
        config_text: str,
        objects: Iterable[bytes] = (),
        template: Path | None = None,
        fault: Fault | None = None,
    ) -> Repository:
        """Make ``work/.editvc``, whole or not at all, with HEAD on an unborn ``main``.

        ``objects`` are stored beside base and recipe (statistics, say). ``template`` is a folder
        whose content is copied first. Raises :class:`RepositoryExists`, and ``ConfigError`` for a
        configuration that does not hold together. What the machine refuses leaves nothing behind.
        """
        from shutil import rmtree  # compression and all: not for a `log` to wait for

        folder = work / FOLDER
        if folder.exists():
            raise RepositoryExists(folder)
        config_file.parse(config_text)
        files = Files(fault)
        draft = work / f"{FOLDER}.tmp-{unique()}"
        settings = config_file.settings_object(config_text.encode())
        first = [codec.encode(base), codec.encode(recipe), settings, *objects]
        try:
            files.make_folder(draft / "cache")
            if template is not None:
                _copy(template, draft, files)
            files.write(draft / "config.toml", config_text.encode())
            _fill(draft, first, files)
            files.rename_folder(draft, folder)
        except (OSError, EditvcError, KeyboardInterrupt):
            rmtree(draft, ignore_errors=True)
            raise
        return cls(folder, fault)

    @classmethod
    def find(
        cls,
        start: Path,
        fault: Fault | None = None,
        remark: Callable[[str], None] = lambda text: None,
        trust: Trust | None = None,
    ) -> Repository:
        """Open the nearest ``.editvc`` at or above ``start``: what :func:`folder_at` raises."""
        return cls(folder_at(start, trust), fault, remark)

    def _read_index(self) -> None:
        """What is made of the store and the index, with nothing kept of other ones."""
        self.refs = Refs(self.index)
        self.operations = recorded(self.index, self.store)
        self.graph = Graph(self.index)
        self.revisions = Revisions(self.refs, self.graph)
        self._nodes: dict[ObjectId, codec.Node] = {}
        self._facts: list[FactRow] = []  # written since the last transaction, not indexed yet

    def _open_index(self, remark: Callable[[str], None]) -> Index:
        """The index, brought up to date, or built anew where there is none."""
        path = self.folder / "index.db"
        try:
            index = Index(path, self.files.fault)
        except IndexMissing:
            from editvc.vcs.recovery import recovered  # sqlite-utils: not for a `log` to wait for

            return recovered(path, self.store, self.files, remark)
        if index.version < VERSION:
            from editvc.vcs.recovery import upgraded

            return upgraded(index, self.store)
        return index

    def close(self) -> None:
        """Give the index back, and let ``gc`` drop things. What was read stays valid."""
        self.index.close()
        self.store.close()

    def scratch(self) -> Repository:
        """The same repository for trying things out: what is written to store, index and settings
        is kept in memory. What outlives it names nothing that does not.
        """
        view = copy.copy(self)
        view.store = ScratchStore(self.store)
        view.index = ScratchIndex(self.index)
        view._read_index()
        view.config_file = DraftConfig(self.config_file, {}, view.store)
        view.bases = KnownBases(self.bases.folder, view.config_file)
        return view

    def drafted(self, settings: Mapping[str, Any]) -> Repository:
        """The same repository under other settings, by dotted key; config.toml stays as it is."""
        view = copy.copy(self)
        view.config_file = DraftConfig(self.config_file, settings)
        view.__dict__.pop("config", None)
        return view

    def forget_config(self) -> None:
        """Read the configuration anew when it is asked for next."""
        self.__dict__.pop("config", None)

    def replace_base(self, settings: Mapping[str, Any]) -> None:
        """Put another base in force; what config.toml says of this one is kept (``bases``)."""
        with self.index.transaction():
            self.bases.keep()
            self.bases.config_file.set_values(settings)
        self.forget_config()

    @cached_property
    def config(self) -> config_file.Config:
        """The checked configuration, as it was on first use."""
        return self.config_file.load()

    def set_config(self, key: str, value: str) -> None:
        """Set a dotted key of the configuration; :attr:`config` is the new one from here on.

        What others set meanwhile stays: writers of the configuration wait for each other.
        """
        with self.index.transaction():
            self.config_file.set_value(key, value)
        self.forget_config()

    def set_configs(self, values: Mapping[str, Any], without: Iterable[str] = ()) -> None:
        """Set several dotted keys to values of their types, and take others out: all or none."""
        with self.index.transaction():
            self.config_file.set_values(values, without)
        self.forget_config()

    def set_remotes(self, sections: Mapping[str, RemoteSection | None]) -> None:
        """Write the sections of remotes, and with ``None`` take them out: all or none."""
        with self.index.transaction():
            self.config_file.set_remotes(sections)
        self.__dict__.pop("config", None)

    def accept_config(self) -> None:
        """Take config.toml as it is for what it should be."""
        with self.index.transaction():
            self.config_file.accept()

    # Objects -----------------------------------------------------------------------------------

    def read_base(self) -> BaseModel:
        """The base model, from its object, with the place to load it from.

        A folder that is named relative to somewhere is seen from the folder of the repository.
        """
        section = self.config_file.base()
        data = self.store.get(section.id)
        beside = self.folder.parent / Path(section.model).expanduser()
        source = str(beside.resolve()) if beside.is_dir() else section.model
        return codec.decode_base(data, source=source, revision=section.revision or None)

    def read_identity(self) -> Identity | None:
        """The whole identity of the base; ``None`` where an older version made the repository."""
        identifier = self.config_file.base().identity
        return None if identifier is None else codec.decode_identity(self.store.get(identifier))

    def read_commit(self, identifier: ObjectId) -> Commit:
        """A commit, from its object."""
        return codec.decode_commit(self.store.get(identifier))

    def read_tree(self, identifier: ObjectId) -> Tree:
        """A tree, from its object."""
        return codec.decode_tree(self.store.get(identifier))

    def read_fact(self, identifier: ObjectId) -> Fact:
        """A fact, from its object."""
        return codec.decode_fact(self.store.get(identifier))

    def read_recipe(self, identifier: ObjectId) -> Recipe:
        """A recipe, from its object."""
        return codec.decode_recipe(self.store.get(identifier))

    def tree_of(self, commit: ObjectId | None) -> Tree:
        """The tree of a commit; of ``None`` (``base``) the tree without edits."""
        if commit is None:
            return Tree(base=self.config.base.id)
        return self.read_tree(self.read_commit(commit).tree)

    def require_in_force(self, tree: Tree) -> None:
        """Raise ``OverAnotherBase`` unless a tree edits the base in force."""
        in_force = self.config.base.id
        if tree.base != in_force:
            raise OverAnotherBase(tree.base, in_force, self.bases.place_of(tree.base))

    def edits_of(self, tree: Tree) -> EditSet:
        """The set of edits of a tree."""
        if len(self._nodes) > MOST_NODES:
            self._nodes.clear()
        return EditSet(self.store, tree.edits, self._nodes)

    def write(self, value: codec.Value) -> ObjectId:
        """Store a value's object. Facts are better given to :meth:`write_facts`."""
        return self.store.put(codec.encode(value))

    def write_fact(self, fact: Fact) -> ObjectId:
        """:meth:`write_facts` of one."""
        return self.write_facts([fact])[0]

    def write_facts(self, facts: Sequence[Fact]) -> list[ObjectId]:
        """Store facts; the next :meth:`record` makes them findable in the index."""
        written = self.store.put_all(codec.encode(fact) for fact in facts)
        self._facts += map(FactRow.of, written, facts)
        return written

    def facts_of(self, subject: str) -> list[FactRow]:
        """The facts of exactly this subject, those among them that were just written."""
        written = [row for row in self._facts if row.subject == subject]
        return [*self.index.facts(subject=subject), *written]

    def write_located(self, objects: Iterable[bytes]) -> list[ObjectId]:
        """Store located edits; for each, the id of the one that answers its request.

        That is an older one where the request had been located before. One without a request (a
        squash makes such) answers for itself.
        """
        data = list(objects)
        requests = [codec.metadata(one).get("request") for one in data]
        written = self.store.put_all(data)
        self.index.remember_all(
            (request, one) for request, one in zip(requests, written, strict=True) if request
        )
        return [
            (self.index.located(request) if request else None) or one
            for request, one in zip(requests, written, strict=True)
        ]

    # History -----------------------------------------------------------------------------------

    def record(
        self,
        commit: Commit,
        *,
        expected: ObjectId | None,
        message: str,
        ref: str | None = None,
        earlier: Sequence[Commit] = (),
        base: Mapping[str, Any] | None = None,
    ) -> ObjectId:
        """Store a commit and move ``ref`` (by default HEAD's branch, or HEAD) to it.

        ``expected`` is where the ref was when the command began. ``earlier`` are commits that the
        last one stands on and that are new as well (a rewritten line). ``message`` goes to the
        reflog. ``base`` are settings of another base, which is in force from then on. Objects come
        first; rows, ref and reflog line are one transaction. Raises ``BranchMoved`` where somebody
        else was faster: then nothing but garbage was written.
        """
        commits = (*earlier, commit)
        written = self.store.put_all(codec.encode(one) for one in commits)
        changes = [
            change
            for identifier, one in zip(written, commits, strict=True)
            for change in changes_of(self.store, identifier, one)
        ]
        with self.index.transaction():
            self.index.add_facts(self._facts)
            self.index.add_commits(map(CommitRow.of, written, commits))
            self.index.add_changes(changes)
            place = ref or self.refs.head().ref
            self.refs.move(
                ReflogEntry(place, expected, written[-1], commit.author, commit.time, message)
            )
            if base:  # last: what fails before it leaves config.toml as it was
                self.bases.keep()
                self.bases.config_file.set_values(base)
        self._facts.clear()
        return written[-1]

    def strays(self) -> list[Path]:
        """What interrupted writes left behind: temporary files of every kind."""
        drafts = self.folder.parent.glob(f"{FOLDER}.tmp-*")
        return sorted({*self.store.strays(), *temporaries(self.folder), *drafts})


def _copy(template: Path, draft: Path, files: Files) -> None:
    for source in sorted(template.rglob("*")):
        if source.is_file():
            files.write(draft / source.relative_to(template), source.read_bytes())


def _fill(draft: Path, objects: Iterable[bytes], files: Files) -> None:
    """Make the store of a repository, with ``objects``, and its index, HEAD on no commit yet."""
    from editvc.vcs import index_schema

    with closing(DiskStore(draft / "objects", files)) as store:
        store.prepare()
        store.put_all(objects)
        index_schema.create(draft / "index.db")
        with closing(Index(draft / "index.db", files.fault)) as index:
            recorded(index, store)
            Refs(index).initialise(FIRST_BRANCH)
