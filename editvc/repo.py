"""``Repo``: the front door of editvc, for Python as for the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.compute import Compute
from editvc.session.session import Session
from editvc.vcs.repository import Repository

if TYPE_CHECKING:
    import socket
    import threading
    from contextlib import AbstractContextManager
    from datetime import date

    from editvc.algebra.delta import Delta
    from editvc.core.fact_files.reader import SourcedFact
    from editvc.core.facts import Fact
    from editvc.core.history import Restraint
    from editvc.core.hook_runner import HookRunner
    from editvc.core.ids import ObjectId
    from editvc.core.methods.locate import LocatedRecipe
    from editvc.core.methods.mend import Matrices
    from editvc.core.methods.recipe import Recipe
    from editvc.core.progress import Progress
    from editvc.core.trust import Trust
    from editvc.models.chat_template import Turn
    from editvc.models.conversation import Conversation
    from editvc.porcelain.base_model import BaseReport
    from editvc.porcelain.bisect import BadCommit, BadSet
    from editvc.porcelain.branch import Branch
    from editvc.porcelain.bundles import Bundle
    from editvc.porcelain.candidates import Judge
    from editvc.porcelain.combine import CombinePreview
    from editvc.porcelain.commit import Preview
    from editvc.porcelain.compact import CompactPreview
    from editvc.porcelain.conflicts import Conflict
    from editvc.porcelain.edits_result import Evaluation
    from editvc.porcelain.expire import ExpirePreview
    from editvc.porcelain.export_preview import ExportPreview
    from editvc.porcelain.export_result import Export
    from editvc.porcelain.fetch import Fetched
    from editvc.porcelain.grep import Matches
    from editvc.porcelain.health import HealthReport
    from editvc.porcelain.health_history import Moment
    from editvc.porcelain.import_patch import ImportPreview, ImportResult
    from editvc.porcelain.kept_scores import KeptScores
    from editvc.porcelain.measure import Measurement
    from editvc.porcelain.merge import Favour
    from editvc.porcelain.notes import Note
    from editvc.porcelain.onto_base import BasePreview, OntoBase
    from editvc.porcelain.publish import Published
    from editvc.porcelain.pull import Pulled
    from editvc.porcelain.push import Pushed
    from editvc.porcelain.rebuild import Rebuilt
    from editvc.porcelain.remote import NamedRemote
    from editvc.porcelain.report import WrittenReport
    from editvc.porcelain.reset import Reset
    from editvc.porcelain.revert import RevertPreview, RevertResult
    from editvc.porcelain.sequence_result import SequenceResult
    from editvc.porcelain.sequencer import Combination
    from editvc.porcelain.shared_statistics import Shared
    from editvc.porcelain.shares import PromptBlame
    from editvc.porcelain.shortlog import AuthorCommits
    from editvc.porcelain.show import CommitDetails
    from editvc.porcelain.squash import SquashPreview, SquashResult
    from editvc.porcelain.stats import Described, StatisticsResult
    from editvc.porcelain.status import Status
    from editvc.porcelain.strongest import Strongest
    from editvc.porcelain.tag import Tag
    from editvc.porcelain.trace import Corruption, TraceReport
    from editvc.porcelain.train import Trained, TrainingPlan
    from editvc.porcelain.tune import Tuning
    from editvc.porcelain.tune_layers import LayerTable
    from editvc.porcelain.undo import Undoing
    from editvc.porcelain.verify import Verification
    from editvc.session.changes import FactChanges
    from editvc.session.choose_recipe import Chosen
    from editvc.session.fact_input import Facts
    from editvc.session.new_clone import Cloned
    from editvc.session.recording import CommitResult
    from editvc.session.signing import Signature
    from editvc.vcs.files import Fault
    from editvc.vcs.fsck import Report
    from editvc.vcs.gc import Collected
    from editvc.vcs.index_rows import CommitRow
    from editvc.vcs.pending import Side
    from editvc.vcs.read_only import Rows
    from editvc.vcs.refs import ReflogEntry


class Repo:
    """A repository of edits over one base model.

    ``path`` is the folder that holds ``.editvc`` or any folder below it. ``clock`` gives seconds
    since the epoch; ``progress`` hears of long work, ``remark`` of what is done besides, such as
    bringing a repository of an earlier version up to date. ``device`` and ``dtype`` are what models
    are run on and in (:class:`editvc.core.compute.Compute`), config.toml's otherwise. ``trust``
    says whose repositories are opened, by default this user's alone. ``hooks`` runs the files in
    ``.editvc/hooks`` (:mod:`editvc.session.user_hooks`); without it none are run. ``sign`` says
    whether commits are signed; without it config.toml does. ``workers`` are those of a Ray engine
    (:mod:`editvc.session.engine`), its address or how many to start here, that :meth:`commit` and
    :meth:`compute_statistics` share their work out to. Methods return frozen values and print
    nothing. Each is one verb of :mod:`editvc.porcelain`, which is imported when it is called: those
    that need tensors import torch then. ``session`` is what the verbs share.
    """

    def __init__(
        self,
        path: str | Path = ".",
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        progress: Progress | None = None,
        remark: Callable[[str], None] = lambda text: None,
        fault: Fault | None = None,
        device: str | None = None,
        dtype: str | None = None,
        trust: Trust | None = None,
        hooks: HookRunner | None = None,
        sign: bool | None = None,
        workers: str | int | None = None,
    ) -> None:
        self.session = Session(
            Repository.find(Path(path), fault, remark, trust), clock=clock, progress=progress,
            remark=remark, device=device, dtype=dtype, hooks=hooks, sign=sign,
            engine=None if workers is None else str(workers),
        )  # fmt: skip

    @classmethod
    def init(
        cls,
        path: str | Path,
        model: str,
        *,
        revision: str | None = None,
        layers: Sequence[int] | None = None,
        texts: Sequence[Path] = (),
        entities: Path | None = None,
        architecture: Path | None = None,
        method: str | None = None,
        later: bool = False,
        statistics: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        progress: Progress | None = None,
        remark: Callable[[str], None] | None = None,
        trust: Trust | None = None,
    ) -> Repo:
        """Make a repository in ``path`` over a model folder, a Hub id, or ``pocket``.

        ``architecture`` is a file with the confirmed block of a family that the architecture table
        lacks (:func:`editvc.porcelain.arch.look_at` finds one). ``method`` is what commits use that
        name none, else what suits the model; statistics are those that it needs. ``later`` puts
        them off to the first commit that needs them; ``statistics`` is the address of a share to
        take them from. ``remark`` hears what a user should know of the choices made, such as the
        statistics.
        """
        from editvc.porcelain.init import init

        init(
            Path(path), model, revision=revision, layers=layers, texts=texts, entities=entities,
            architecture=architecture, method=method, later=later, statistics=statistics,
            compute=Compute().over(device, dtype), progress=progress,
            remark=remark or (lambda text: None),
        )  # fmt: skip
        return cls(path, progress=progress, device=device, dtype=dtype, trust=trust)

    @property
    def folder(self) -> Path:
        """The ``.editvc`` folder."""
        return self.session.repository.folder

    def close(self) -> None:
        """Let go of the index, in the thread that opened it: for who opens many repositories."""
        self.session.repository.close()

    def require_base(self) -> None:
        """Raise unless the base is at hand and is the very one; no model is loaded for it."""
        return self.session.require_base()

    # -- changing the set -------------------------------------------------------------------

    def commit(
        self,
        facts: Facts,
        *,
        recipe: Recipe | None = None,
        message: str | None = None,
        author: str | None = None,
        supersede: bool = False,
        sequential: bool = False,
        strict: bool = False,
        remark: Callable[[str], None] | None = None,
    ) -> CommitResult:
        """Commit facts (values, dictionaries in any accepted format, or a file) on HEAD.

        All or nothing: one bad record, and nothing is written. ``recipe`` is the ``recipe`` of what
        :meth:`choose` gives, where no method is named that of config.toml. ``supersede`` lets a
        fact take the slot of a live one that says otherwise. ``sequential`` makes patches on HEAD's
        weights, as papers measure edits one after the other. ``remark`` hears of edits that look
        like disabling ones before the branch moves; what it raises cancels the commit. ``strict``
        refuses facts whose edits would act on names that they are not about.
        """
        from editvc.porcelain.commit import commit

        return commit(
            self.session, facts, recipe=recipe or self.choose().recipe, message=message,
            author=self.session.author(author), supersede=supersede, sequential=sequential,
            strict=strict, remark=remark,
        )  # fmt: skip

    def preview(
        self,
        facts: Facts,
        *,
        recipe: Recipe | None = None,
        supersede: bool = False,
        sequential: bool = False,
        strict: bool = False,
    ) -> Preview:
        """What :meth:`commit` would do, or why not, with nothing written: no reactions are known
        either where the first commit is still to take the statistics that tell of them.
        """
        from editvc.porcelain.commit import preview

        return preview(
            self.session, facts, recipe=recipe or self.choose().recipe, supersede=supersede,
            sequential=sequential, strict=strict,
        )  # fmt: skip

    def import_patch(
        self,
        source: str | Path,
        *,
        rank: int | None = None,
        energy: float | None = None,
        message: str | None = None,
        author: str | None = None,
    ) -> ImportResult:
        """Commit a PEFT adapter, or another checkpoint's difference to the base, as a patch."""
        from editvc.porcelain.import_patch import import_patch

        return import_patch(
            self.session, Path(source), rank=rank, energy=energy, message=message,
            author=self.session.author(author),
        )  # fmt: skip

    def preview_import(
        self, source: str | Path, *, rank: int | None = None, energy: float | None = None
    ) -> ImportPreview:
        """What :meth:`import_patch` would take over."""
        from editvc.porcelain.import_patch import preview_import

        return preview_import(self.session, Path(source), rank=rank, energy=energy)

    def revert(
        self, target: str, *, message: str | None = None, author: str | None = None
    ) -> RevertResult:
        """Take the edits of a revision, or one live fact by its id, out of the set."""
        from editvc.porcelain.revert import revert

        return revert(self.session, target, message=message, author=self.session.author(author))

    def preview_revert(self, target: str) -> RevertPreview:
        """What :meth:`revert` would do."""
        from editvc.porcelain.revert import preview_revert

        return preview_revert(self.session, target)

    def expire(
        self, at: date | None = None, *, message: str | None = None, author: str | None = None
    ) -> CommitResult:
        """Take the live facts out of the set whose ``valid_until`` is over on a day, or today."""
        from editvc.porcelain.expire import expire

        return expire(self.session, at, message=message, author=self.session.author(author))

    def preview_expire(self, at: date | None = None) -> ExpirePreview:
        """What :meth:`expire` would do."""
        from editvc.porcelain.expire import preview_expire

        return preview_expire(self.session, at)

    def squash(
        self,
        revisions: str,
        *,
        message: str | None = None,
        author: str | None = None,
        method: str | None = None,
    ) -> SquashResult:
        """Locate a range of commits again as one batch and fold them into one commit.

        With a ``method`` its edits become that method's instead, from what they keep.
        """
        from editvc.porcelain.squash import squash

        return squash(
            self.session, revisions, message=message, author=self.session.author(author),
            method=method,
        )  # fmt: skip

    def preview_squash(self, revisions: str, *, method: str | None = None) -> SquashPreview:
        """What :meth:`squash` would do."""
        from editvc.porcelain.squash import preview_squash

        return preview_squash(self.session, revisions, method=method)

    def compact(
        self, restraint: Restraint, *, message: str | None = None, author: str | None = None
    ) -> CommitResult:
        """Commit HEAD's set under a restraint (PRUNE, a rank or an energy cut)."""
        from editvc.porcelain.compact import compact

        return compact(self.session, restraint, message=message, author=self.session.author(author))

    def preview_compact(self, restraint: Restraint) -> CompactPreview:
        """What :meth:`compact` would do, and which facts it would leave unsaid: asks the model."""
        from editvc.porcelain.compact import preview_compact

        return preview_compact(self.session, restraint)

    def strongest_restraint(
        self, keep: float, kind: str = "prune", *, seed: int | None = None
    ) -> Strongest:
        """The strongest restraint of a kind under which that share of facts is still said.

        Of those that the unrestrained set says, in (0, 1]; every candidate is asked for them. Kinds
        are those of :data:`editvc.porcelain.strongest.KINDS`.
        """
        from editvc.porcelain.strongest import strongest

        return strongest(self.session, keep, kind, seed)

    def merge(
        self,
        *revisions: str,
        favour: Favour | None = None,
        message: str | None = None,
        author: str | None = None,
    ) -> Combination:
        """Commit the union of HEAD's changes and those of revisions against what they share.

        Stops at places that both changed, unless ``favour`` decides: ``"ours"``, ``"theirs"``.
        """
        from editvc.porcelain.merge import merge

        return merge(
            self.session, revisions, favour=favour, message=message,
            author=self.session.author(author),
        )  # fmt: skip

    def preview_merge(self, *revisions: str, favour: Favour | None = None) -> CombinePreview:
        """What :meth:`merge` would do."""
        from editvc.porcelain.merge import preview_merge

        return preview_merge(self.session, revisions, favour=favour)

    def cherry_pick(self, *revisions: str) -> Combination:
        """Commit once more, on HEAD, what each revision, or each of a range, changed."""
        from editvc.porcelain.cherry_pick import cherry_pick

        return cherry_pick(self.session, revisions)

    def preview_cherry_pick(self, *revisions: str) -> CombinePreview:
        """What :meth:`cherry_pick` would do."""
        from editvc.porcelain.cherry_pick import preview_cherry_pick

        return preview_cherry_pick(self.session, revisions)

    def rebase(self, upstream: str) -> Combination:
        """Replay what HEAD's branch has of its own on top of ``upstream``, and move it there."""
        from editvc.porcelain.rebase import rebase

        return rebase(self.session, upstream)

    def preview_rebase(self, upstream: str) -> CombinePreview:
        """What :meth:`rebase` would do."""
        from editvc.porcelain.rebase import preview_rebase

        return preview_rebase(self.session, upstream)

    def rebase_onto_base(
        self,
        model: str,
        *,
        revision: str | None = None,
        layers: Sequence[int] | None = None,
        texts: Sequence[Path] = (),
        entities: Path | None = None,
        keep_known: bool = False,
    ) -> OntoBase:
        """Carry HEAD's branch over to another base: a new release, say. It is in force then.

        Every fact is located afresh, for each commit; statistics are taken as :meth:`init` does.
        What the new base says by itself is left out, or carried where ``keep_known``. Where facts
        no longer take, the branch waits for :meth:`go_on` or :meth:`abort`.
        """
        from editvc.porcelain.onto_base import Goal, rebase_onto_base

        return rebase_onto_base(
            self.session, Goal(model, revision, layers, texts, entities, keep_known)
        )

    def preview_rebase_onto_base(
        self, model: str, *, revision: str | None = None, keep_known: bool = False
    ) -> BasePreview:
        """What :meth:`rebase_onto_base` would carry, as the new base is asked."""
        from editvc.porcelain.onto_base import Goal, preview_onto_base

        return preview_onto_base(self.session, Goal(model, revision, keep_known=keep_known))

    def verify(
        self, source: str, *, revision: str | None = None, key: Path | None = None
    ) -> Verification:
        """Compare an export, a folder or a Hub id, with what the repository gives, by tensors.

        ``revision`` is what to compare with; else the tree of its lock file, else HEAD. ``key`` is
        the public key of whoever is to have signed it.
        """
        from editvc.porcelain.verify import verify

        return verify(self.session, source, revision=revision, key=key)

    @classmethod
    def rebuild(
        cls,
        source: str,
        target: str | Path | None = None,
        *,
        base: str | None = None,
        replace: bool = False,
        timeout: float = 60.0,
        clock: Callable[[], int] = lambda: int(time.time()),
        progress: Progress | None = None,
        remark: Callable[[str], None] = lambda text: None,
    ) -> Rebuilt:
        """Make the weights of a published model again, without a repository, and compare them.

        ``source`` is its folder, its lock file, or its name on the Hub; ``base`` where its base is
        on this machine. Only with ``target`` is what was made kept.
        """
        from editvc.porcelain.rebuild import rebuild

        return rebuild(
            source, Path(target) if target else None, base=base, replace=replace, timeout=timeout,
            clock=clock, progress=progress, remark=remark,
        )  # fmt: skip

    def verify_commit(self, *revisions: str) -> tuple[Signature, ...]:
        """What is to be said of the signatures of commits."""
        from editvc.porcelain.verify_commit import verify_commit

        return verify_commit(self.session, revisions)

    def resolve(self, place: str, side: Side) -> Conflict:
        """Decide a place in conflict: ``"ours"``, ``"theirs"``, ``"base"``, or ``"none"`` of them.

        ``place`` is the beginning of a slot's id, or of a fact's that a side has there.
        """
        from editvc.porcelain.resolve import resolve

        return resolve(self.session, place, side)

    def go_on(self, verb: str) -> Combination:
        """Finish the ``merge``, ``cherry-pick`` or ``rebase`` that waits, all being decided."""
        from editvc.porcelain.sequencer import go_on

        return go_on(self.session, verb)

    def skip(self, verb: str) -> Combination:
        """Leave out the commit at which a ``cherry-pick`` or ``rebase`` waits, and go on."""
        from editvc.porcelain.sequencer import skip

        return skip(self.session, verb)

    def abort(self, verb: str) -> ObjectId | None:
        """Forget what waits; the branch is where it was all along, which is returned."""
        from editvc.porcelain.sequencer import abort

        return abort(self.session, verb)

    # -- other repositories -----------------------------------------------------------------

    @classmethod
    def clone(
        cls,
        url: str,
        path: str | Path,
        *,
        name: str = "origin",
        branch: str | None = None,
        base: str | None = None,
        timeout: float = 60.0,
        clock: Callable[[], int] = lambda: int(time.time()),
        progress: Progress | None = None,
        remark: Callable[[str], None] = lambda text: None,
    ) -> Cloned:
        """Make a repository in ``path`` of all that a remote, a bundle, or a published model holds.

        ``base`` is where the base model is on this machine; what the remote says otherwise, which
        of a model in a folder is the folder's name alone. ``timeout`` is for each request.
        """
        from editvc.porcelain.clone import clone

        return clone(
            url, Path(path), name=name, branch=branch, base=base, timeout=timeout, clock=clock,
            progress=progress, remark=remark,
        )  # fmt: skip

    def remotes(self) -> list[NamedRemote]:
        """The repositories elsewhere that have names here."""
        from editvc.porcelain.remote import remotes

        return remotes(self.session)

    def add_remote(self, name: str, url: str, timeout: float = 60.0) -> None:
        """Give a repository elsewhere a name: a path, ``s3://``, ``hf://``, ``ssh://``."""
        from editvc.porcelain.remote import add_remote

        return add_remote(self.session, name, url, timeout)

    def set_remote_url(self, name: str, url: str, timeout: float | None = None) -> None:
        """Change where a remote is."""
        from editvc.porcelain.remote import set_url

        return set_url(self.session, name, url, timeout)

    def rename_remote(self, old: str, new: str) -> None:
        """Give a remote another name."""
        from editvc.porcelain.remote import rename_remote

        return rename_remote(self.session, old, new)

    def remove_remote(self, name: str) -> None:
        """Forget a remote, and where its branches were."""
        from editvc.porcelain.remote import remove_remote

        return remove_remote(self.session, name)

    def fetch(self, remote: str | None = None, *, prune: bool = False) -> Fetched:
        """Take what is new in a remote; no branch of this repository moves."""
        from editvc.porcelain.fetch import fetch

        return fetch(self.session, remote, prune=prune)

    def preview_fetch(self, remote: str | None = None, *, prune: bool = False) -> Fetched:
        """What :meth:`fetch` would do."""
        from editvc.porcelain.fetch import preview_fetch

        return preview_fetch(self.session, remote, prune=prune)

    def push(
        self,
        remote: str | None = None,
        names: Sequence[str] = (),
        *,
        tags: bool = False,
        force: bool = False,
        delete: bool = False,
    ) -> Pushed:
        """Move branches and tags of a remote to where they are here; HEAD's branch by default."""
        from editvc.porcelain.push import push

        return push(self.session, remote, names, tags=tags, force=force, delete=delete)

    def preview_push(
        self,
        remote: str | None = None,
        names: Sequence[str] = (),
        *,
        tags: bool = False,
        force: bool = False,
        delete: bool = False,
    ) -> Pushed:
        """What :meth:`push` would do."""
        from editvc.porcelain.push import preview_push

        return preview_push(self.session, remote, names, tags=tags, force=force, delete=delete)

    def pull(
        self,
        remote: str | None = None,
        branch: str | None = None,
        *,
        author: str | None = None,
        favour: Favour | None = None,
        by_rebase: bool = False,
    ) -> Pulled:
        """:meth:`fetch`, then merge the remote's branch into HEAD's, or rebase onto it."""
        from editvc.porcelain.pull import pull

        return pull(
            self.session, remote, branch, author=self.session.author(author), favour=favour,
            by_rebase=by_rebase,
        )  # fmt: skip

    def create_bundle(
        self, path: str | Path, names: Sequence[str] = (), *, without: Sequence[str] = ()
    ) -> Bundle:
        """Write branches and tags to one file, to be cloned or fetched from."""
        from editvc.porcelain.bundles import create_bundle

        return create_bundle(self.session, Path(path), names, without=without)

    def preview_bundle(
        self, path: str | Path, names: Sequence[str] = (), *, without: Sequence[str] = ()
    ) -> Bundle:
        """What :meth:`create_bundle` would write."""
        from editvc.porcelain.bundles import preview_bundle

        return preview_bundle(self.session, Path(path), names, without=without)

    def verify_bundle(self, path: str | Path) -> Bundle:
        """Whether a bundle is whole, and could be fetched here."""
        from editvc.porcelain.bundles import verify_bundle

        return verify_bundle(self.session, Path(path))

    def reset(self, revision: str) -> Reset:
        """Move HEAD's branch to a revision; tells which commits no branch reaches then."""
        from editvc.porcelain.reset import reset

        return reset(self.session, revision)

    def preview_reset(self, revision: str) -> Reset:
        """What :meth:`reset` would do."""
        from editvc.porcelain.reset import preview_reset

        return preview_reset(self.session, revision)

    def restore(
        self,
        fact: str,
        revision: str | None = None,
        *,
        message: str | None = None,
        author: str | None = None,
    ) -> CommitResult:
        """Commit the slot of a fact as another revision has it, or before its last change."""
        from editvc.porcelain.restore import restore

        return restore(
            self.session, fact, revision=revision, message=message,
            author=self.session.author(author),
        )  # fmt: skip

    def preview_restore(self, fact: str, revision: str | None = None) -> FactChanges:
        """What :meth:`restore` would change."""
        from editvc.porcelain.restore import preview_restore

        return preview_restore(self.session, fact, revision=revision)

    # -- history ----------------------------------------------------------------------------

    def status(self) -> Status:
        """Where HEAD is and what it holds."""
        from editvc.porcelain.status import status

        return status(self.session)

    def log(self, revision: str = "HEAD", limit: int | None = None) -> list[CommitRow]:
        """Commits that a revision reaches, newest first."""
        from editvc.porcelain.log import log

        return log(self.session, revision, limit)

    def shortlog(self, revision: str = "HEAD") -> list[AuthorCommits]:
        """The commits that a revision reaches, by author."""
        from editvc.porcelain.shortlog import shortlog

        return shortlog(self.session, revision)

    def notes(self) -> list[Note]:
        """All notes about commits."""
        from editvc.porcelain.notes import notes

        return notes(self.session)

    def note(self, revision: str = "HEAD") -> Note:
        """The note about a commit."""
        from editvc.porcelain.notes import note_about

        return note_about(self.session, revision)

    def add_note(
        self, revision: str, text: str, *, author: str | None = None, replace: bool = False
    ) -> Note:
        """Write a note about a commit, whose id stays; ``replace`` writes over one."""
        from editvc.porcelain.notes import add_note

        return add_note(
            self.session, revision, text, author=self.session.author(author), replace=replace
        )

    def remove_note(self, revision: str = "HEAD", *, author: str | None = None) -> Note:
        """Take the note about a commit away."""
        from editvc.porcelain.notes import remove_note

        return remove_note(self.session, revision, author=self.session.author(author))

    def imported_patches(self, row: CommitRow) -> int:
        """How many patches that stand for no fact a commit of the log holds."""
        from editvc.porcelain.log import imported_patches

        return imported_patches(self.session, row)

    def show(self, revision: str = "HEAD") -> CommitDetails:
        """One commit, and what it changed."""
        from editvc.porcelain.show import show

        return show(self.session, revision)

    def grep(self, text: str, revision: str | None = "HEAD", *, messages: bool = True) -> Matches:
        """Facts live at a revision, and commits that it reaches, with all words of ``text``.

        Without a revision, everything that was ever committed.
        """
        from editvc.porcelain.grep import grep

        return grep(self.session, text, revision, messages=messages)

    def query(self, sql: str) -> Rows:
        """What one SQL statement, which only reads, gives of the index (see docs/formats.md)."""
        from editvc.porcelain.query import query

        return query(self.session, sql)

    def live(self, revision: str = "HEAD") -> list[Fact]:
        """The live facts of a revision, in slot order."""
        from editvc.session.trees import live_facts

        return list(live_facts(self.session, revision).values())

    def changes(self, before: str, after: str) -> FactChanges:
        """The facts that two revisions do not share."""
        from editvc.porcelain.diff import changes

        return changes(self.session, before, after)

    def delta_norms(self, before: str, after: str) -> dict[int | str, float]:
        """Frobenius norm of the change of every edited layer between two revisions.

        Weights other than down projections, which imports change, go by their names.
        """
        from editvc.porcelain.diff import delta_norms

        return delta_norms(self.session, before, after)

    def fsck(self) -> Report:
        """Verify every object, reference and index row."""
        from editvc.vcs.fsck import fsck

        return fsck(self.session.repository)

    def gc(self, before: float | None = None) -> Collected:
        """Put small objects into packs, and drop what nothing leads to.

        Dropped is what is older than ``before`` (seconds since the epoch; two weeks ago by
        default), and only while no other process writes. Raises ``CollectorBusy``.
        """
        from editvc.vcs.gc import gc

        return gc(self.session.repository, before)

    def preview_gc(self, before: float | None = None) -> Collected:
        """What :meth:`gc` would do."""
        from editvc.vcs.gc import preview_gc

        return preview_gc(self.session.repository, before)

    @staticmethod
    def reindex(path: str | Path, trust: Trust | None = None) -> list[str]:
        """Build the index of a repository anew from its objects and its operation log.

        Returns what was done, in words. It need not be possible to open the repository.
        """
        from editvc.porcelain.reindex import reindex

        return reindex(Path(path), trust)

    @staticmethod
    def repair(path: str | Path, trust: Trust | None = None) -> list[str]:
        """:meth:`reindex` where the index is damaged or disagrees with what it is built from."""
        from editvc.porcelain.reindex import repair

        return repair(Path(path), trust)

    def reflog(self, name: str = "HEAD") -> list[ReflogEntry]:
        """The moves of a branch, of HEAD, or of a ref by its full name, newest first."""
        from editvc.porcelain.reflog import reflog

        return reflog(self.session, name)

    def undo(self, *, author: str | None = None) -> Undoing:
        """Put refs back to where they were before the last command that moved any."""
        from editvc.porcelain.undo import undo

        return undo(self.session, self.session.author(author))

    def preview_undo(self) -> Undoing:
        """What :meth:`undo` would do."""
        from editvc.porcelain.undo import preview_undo

        return preview_undo(self.session)

    def redo(self, *, author: str | None = None) -> Undoing:
        """Do again what :meth:`undo` took back last."""
        from editvc.porcelain.undo import redo

        return redo(self.session, self.session.author(author))

    def preview_redo(self) -> Undoing:
        """What :meth:`redo` would do."""
        from editvc.porcelain.undo import preview_redo

        return preview_redo(self.session)

    # -- looking for trouble ----------------------------------------------------------------

    def bisect(self, good: str, bad: str, judge: Judge) -> BadCommit:
        """The first commit after ``good``, up to ``bad``, that ``judge`` calls bad.

        Judges are made by :mod:`editvc.porcelain.judges`: of an answer, a figure, or a command.
        """
        from editvc.porcelain.bisect import bisect

        return bisect(self.session, good, bad, judge)

    def bisect_set(self, good: str, bad: str, judge: Judge) -> BadSet:
        """The smallest set of what differs between two revisions that makes the good one bad.

        From ``base`` on that is a set of facts that is bad by itself, and none can be left out.
        """
        from editvc.porcelain.bisect import bisect_set

        return bisect_set(self.session, good, bad, judge)

    def blame(self, prompt: str, revision: str = "HEAD") -> PromptBlame:
        """The exact share of every fact and commit in what a revision does with a prompt."""
        from editvc.porcelain.shares import blame_prompt

        return blame_prompt(self.session, prompt, revision)

    # -- branches ---------------------------------------------------------------------------

    def remote_branches(self) -> list[Branch]:
        """Branches of remotes by name, as ``origin/main``, where they were seen last."""
        from editvc.porcelain.branch import remote_branches

        return remote_branches(self.session)

    def branches(self) -> list[Branch]:
        """Every branch, the current one marked."""
        from editvc.porcelain.branch import branches

        return branches(self.session)

    def create_branch(self, name: str, at: str = "HEAD") -> None:
        """A new branch at a revision."""
        from editvc.porcelain.branch import create

        create(self.session, name, at)

    def delete_branch(self, name: str) -> ObjectId:
        """Remove a branch that is not the current one; its commits stay reachable by id."""
        from editvc.porcelain.branch import delete

        return delete(self.session, name)

    def tags(self) -> list[Tag]:
        """Every tag, by name."""
        from editvc.porcelain.tag import tags

        return tags(self.session)

    def create_tag(self, name: str, at: str = "HEAD") -> None:
        """A new tag at a revision."""
        from editvc.porcelain.tag import create_tag

        create_tag(self.session, name, at)

    def delete_tag(self, name: str) -> ObjectId:
        """Remove a tag; its commit stays reachable by id."""
        from editvc.porcelain.tag import delete_tag

        return delete_tag(self.session, name)

    def switch(self, name: str) -> None:
        """Make a branch the current one."""
        from editvc.porcelain.switch import switch

        switch(self.session, name)

    def start_branch(self, name: str) -> None:
        """Make a branch at HEAD and the current one, both or neither."""
        from editvc.porcelain.switch import start_branch

        start_branch(self.session, name)

    def detach(self, revision: str) -> ObjectId:
        """Put HEAD on a commit, on no branch."""
        from editvc.porcelain.switch import detach

        return detach(self.session, revision)

    # -- the model of a revision ------------------------------------------------------------

    def materialise(self, revision: str = "HEAD") -> Delta:
        """The exact low-rank delta of a revision, to be added to the base's weights."""
        from editvc.session.trees import tree_at

        return self.session.materialiser.delta(tree_at(self.session, revision))

    def load_model(self, revision: str = "HEAD") -> Any:
        """A fresh transformers model that answers as a revision does.

        On the CPU in float32; the edited weights are rounded to the base's dtype first, so that
        they are those of an export. The revision's codebooks are attached to it for good, as
        forward hooks (:func:`editvc.models.codebook_hooks.attach`): what ``save_pretrained`` writes
        holds the weights without them.
        """
        from editvc.porcelain.ask import load_model

        return load_model(self.session, revision)

    def base(self) -> BaseReport:
        """The base that the repository edits, its files checked against its identity."""
        from editvc.porcelain.base_model import base_report

        return base_report(self.session)

    def move_base(self, model: str, *, revision: str | None = None) -> BaseReport:
        """Load the base from another place, which holds the very same model, from now on."""
        from editvc.porcelain.base_model import move_base

        return move_base(self.session, model, revision)

    def load_tokenizer(self) -> Any:
        """The base's tokenizer."""
        return self.session.base_model().tokenizer

    def ask(self, prompt: str, *, at: str = "HEAD", max_new_tokens: int = 16) -> str:
        """What the model of a revision says after ``prompt``, by greedy generation."""
        from editvc.porcelain.ask import ask

        return ask(self.session, prompt, at, max_new_tokens)

    def converse(
        self, *, at: str = "HEAD", max_new_tokens: int = 256
    ) -> AbstractContextManager[Conversation]:
        """A conversation with the model of a revision, turn after turn, for a ``with`` statement.

        ``max_new_tokens`` bounds each answer.
        """
        from editvc.porcelain.ask import converse

        return converse(self.session, at, max_new_tokens)

    def serve(
        self,
        listener: socket.socket,
        revisions: Sequence[str] = (),
        *,
        room: int = 16,
        seconds: float = 120,
        hosts: Sequence[str] = ("localhost", "127.0.0.1"),
        stop: threading.Event,
    ) -> None:
        """Answer clients of OpenAI's interface at a listening socket until ``stop`` is set.

        A client names one of ``revisions`` as its model; without any, whichever it likes. At most
        ``room`` requests wait, and each has ``seconds``. ``hosts`` are the names that the server
        may be called by, ``*`` for any. Raises :class:`editvc.porcelain.serve.MissingServer`.
        """
        from editvc.porcelain.serve import serve

        return serve(
            self.session, listener, revisions, room=room, seconds=seconds, hosts=hosts, stop=stop
        )

    def turn(self) -> Turn:
        """What the base's chat template writes around a user's words, such as a prompt to ask.

        Raises :class:`editvc.models.chat_template.ChatTemplateError`.
        """
        from editvc.porcelain.ask import chat_turn

        return chat_turn(self.session)

    def in_chat(self, facts: Facts) -> list[SourcedFact]:
        """The same facts, asked as a user's turn of the base's chat template: see :meth:`turn`.

        Prompts, paraphrases and locality prompts all are; each fact has a slot of its own, beside
        that of the plain one.
        """
        from editvc.porcelain.ask import in_chat

        return in_chat(self.session, facts)

    def evaluate(
        self,
        facts: Facts | None = None,
        *,
        at: str = "HEAD",
        max_new_tokens: int = 12,
        again: bool = False,
    ) -> Evaluation:
        """What a revision says of facts, or of its own live ones: generation and scores.

        ``at`` may be a range A..B: then B is asked for the facts that are new there. A result is
        kept, and read when the same is asked again, unless it shall be measured ``again``.
        """
        from editvc.porcelain.evaluate import evaluate

        return evaluate(self.session, facts, at, max_new_tokens=max_new_tokens, again=again)

    def measure(
        self,
        suite: str,
        *,
        at: str = "HEAD",
        tasks: Sequence[Path] = (),
        items: int = 200,
        again: bool = False,
    ) -> Measurement:
        """What a suite of :mod:`editvc.porcelain.measure` finds out about a revision.

        ``abilities`` and ``saliency`` (of ``tasks``), ``generation``, ``forgetting``, and
        ``lm-eval:TASK``.
        """
        from editvc.porcelain.measure import measure

        return measure(self.session, suite, at, tasks=tasks, items=items, again=again)

    def run_sequence(
        self,
        facts: Facts,
        *,
        recipe: Recipe | None = None,
        batch: int = 1,
        fusion: str = "sum",
        checkpoints: int | Sequence[int] = 10,
        at: str = "base",
        tasks: Sequence[Path] = (),
        items: int = 200,
        compared: int = 20,
        again: bool = False,
    ) -> SequenceResult:
        """Edit facts blindly, each batch on the weights as they are by then; nothing is committed.

        ``fusion`` says how updates come together: a rule of :mod:`editvc.core.fusion_rule` with its
        numbers, such as ``drop:0.8``. At ``checkpoints`` (numbers of edits, or every so many) all
        earlier facts are asked again, norms are taken, and ``items`` of each task file are asked.
        ``compared`` is the number of first updates whose cosines are taken. The result is kept; a
        run that was stopped goes on from its last checkpoint.
        """
        from editvc.porcelain.sequence import run_sequence

        return run_sequence(
            self.session, facts, recipe=recipe or self.choose().recipe, batch=batch, fusion=fusion,
            checkpoints=checkpoints, at=at, tasks=tasks, items=items, compared=compared,
            again=again,
        )  # fmt: skip

    def scores(self, revision: str = "HEAD") -> list[KeptScores]:
        """The results that are kept of a revision, by suite; nothing is computed."""
        from editvc.porcelain.kept_scores import scores_of_revision

        return scores_of_revision(self.session, revision)

    def health(self, revision: str = "HEAD") -> HealthReport:
        """Figures per layer, a verdict with its reasons, and the trend along history."""
        from editvc.porcelain.health import check_health

        return check_health(self.session, revision)

    def report(
        self,
        target: Path,
        *,
        revision: str = "HEAD",
        prompts: Sequence[str] = (),
        replace: bool = False,
    ) -> WrittenReport:
        """Write one self-contained page about a revision: health, facts, history, answers."""
        from editvc.porcelain.report import write_report

        return write_report(
            self.session, target, revision=revision, prompts=prompts, replace=replace
        )

    def health_history(self, revision: str = "HEAD", *, most: int | None = None) -> list[Moment]:
        """The figures of a revision and of its first parents, oldest first; the last ``most``."""
        from editvc.porcelain.health_history import health_history

        return health_history(self.session, revision, most)

    def trace(
        self,
        facts: Facts,
        *,
        at: str = "base",
        kind: str = "hidden",
        corruption: Corruption | None = None,
    ) -> TraceReport:
        """Causal traces of the facts that the model of a revision knows, and their average.

        ``kind`` is what is restored: ``hidden``, ``mlp`` or ``attn``.
        """
        from editvc.porcelain.trace import trace_facts

        return trace_facts(self.session, facts, at=at, kind=kind, corruption=corruption)

    def trace_prompt(
        self,
        prompt: str,
        subject: str,
        target: str | None = None,
        *,
        at: str = "base",
        kind: str = "hidden",
        corruption: Corruption | None = None,
    ) -> TraceReport:
        """The causal trace of one prompt; without a target, for what the model says first."""
        from editvc.porcelain.trace import trace_prompt

        return trace_prompt(
            self.session, prompt, subject, target, at=at, kind=kind, corruption=corruption
        )

    # -- sharing ----------------------------------------------------------------------------

    def export(
        self,
        to: str | Path,
        *,
        format: str = "hf",
        revision: str = "HEAD",
        rank: int | None = None,
        replace: bool = False,
        linear: bool = False,
        keep_width: bool = False,
        quantize: str | None = None,
        measure_on: str | None = None,
    ) -> Export:
        """Write a revision as a model folder (``hf``), a PEFT adapter (``lora``) or factors.

        ``gguf`` and ``gguf-lora`` are the first two as llama.cpp takes them.
        ``linear``: an adapter holds the linear solution of gated edits, which it cannot hold.
        ``keep_width``: in a whole model the least used neurons give way to theirs.
        ``quantize``: the type of all matrices of a GGUF file, such as ``Q8_0``.
        ``measure_on``: ask an adapter on the base in 4 bits, too: ``nf4`` or ``fp4``.
        """
        from editvc.porcelain.export import export

        return export(
            self.session, Path(to), format=format, revision=revision, rank=rank, replace=replace,
            linear=linear, keep_width=keep_width, quantize=quantize, measure_on=measure_on,
        )  # fmt: skip

    def preview_export(self, to: str | Path, **options: Any) -> ExportPreview:
        """What :meth:`export` would write, and what health says of it; the same options."""
        from editvc.porcelain.export_preview import preview_export

        return preview_export(self.session, Path(to), **{"format": "hf", **options})

    def preview_publish(self, repo_id: str, **options: Any) -> ExportPreview:
        """What :meth:`publish` would push, and what health says of it; the Hub is not asked.

        Options are those of :func:`editvc.porcelain.export_preview.preview_publish`.
        """
        from editvc.porcelain.export_preview import preview_publish

        return preview_publish(self.session, repo_id, **options)

    def adapter(self, revision: str, among: str | Path) -> Path:
        """A revision's PEFT adapter in a folder of adapters, exported when it is not there yet."""
        from editvc.porcelain.kept_adapter import kept_adapter

        return kept_adapter(self.session, revision, Path(among))

    def publish(self, repo_id: str, **options: Any) -> Published:
        """Push a revision to the Hub, past the health gate, with card, ledger and lock file.

        Options are those of :func:`editvc.porcelain.publish.publish`.
        """
        from editvc.porcelain.publish import publish

        return publish(self.session, repo_id, **options)

    # -- recipes, statistics, training ------------------------------------------------------

    def recipe(self) -> LocatedRecipe:
        """The recipe in config.toml: what located methods begin with from now on.

        :meth:`choose` has the one that commits use, of whichever method.
        """
        return self.session.recipe()

    def choose(
        self, method: str | None = None, *, options: Sequence[str] = (), file: Path | None = None
    ) -> Chosen:
        """The recipe of a method, with options ``"key=value"`` and a file of hyper-parameters."""
        from editvc.session.choose_recipe import choose

        return choose(self.session, method, options, file)

    def with_coverage(self, recipe: Recipe) -> Recipe:
        """The recipe with statistics that cover its layers, taken now where they do not yet."""
        from editvc.porcelain.coverage import with_coverage

        return with_coverage(self.session, recipe)

    def settings(self, key: str | None = None) -> dict[str, Any]:
        """Every setting of config.toml by its dotted key, or the one of ``key``."""
        from editvc.porcelain.configure import settings

        return settings(self.session, key)

    def configure(self, key: str, text: str) -> tuple[str, ...]:
        """Set a dotted key of config.toml; what changed besides is returned in words."""
        from editvc.porcelain.configure import configure

        return configure(self.session, key, text)

    def accept_config(self) -> None:
        """Take config.toml, which somebody has edited by hand, as it is."""
        return self.session.repository.accept_config()

    def statistics(self) -> list[Described]:
        """The statistics that commits use, and what they were taken from."""
        from editvc.porcelain.stats import described

        return described(self.session)

    def compute_statistics(
        self,
        *,
        texts: Sequence[Path] = (),
        dataset: str | None = None,
        entities: Path | None = None,
        budget: int | None = None,
        token_cap: int = 512,
    ) -> StatisticsResult:
        """Take second moments of the base's keys anew, and use them from now on."""
        from editvc.porcelain.stats import compute

        return compute(
            self.session, texts=texts, dataset=dataset, entities=entities, budget=budget,
            token_cap=token_cap,
        )  # fmt: skip

    def push_statistics(self, place: str, *, force: bool = False) -> Shared:
        """Share the statistics that commits use, at a remote's name or an address.

        ``force`` puts them in the place of others of the same base, layers and corpus.
        """
        from editvc.porcelain.shared_statistics import push

        return push(self.session, place, force=force)

    def pull_statistics(
        self, place: str, *, corpora: Sequence[str] = (), force: bool = False
    ) -> Shared:
        """Use statistics of this base that somebody has shared; ``force`` in the place of others.

        ``corpora`` are the first digits of those to take, where there are several.
        """
        from editvc.porcelain.shared_statistics import pull

        return pull(self.session, place, corpora=corpora, force=force)

    def tune(
        self,
        facts: Facts,
        *,
        quick: bool = False,
        seed: int = 0,
        texts: Sequence[Path] = (),
        entities: Path | None = None,
        write: bool = False,
    ) -> Tuning:
        """Try settings of the recipe on a few of the facts; no branch moves.

        ``quick`` tries 10 facts on a small grid, instead of 50 on a larger one. ``write`` puts the
        best setting into config.toml.
        """
        from editvc.porcelain.tune import tune

        return tune(
            self.session, facts, quick=quick, seed=seed, texts=texts, entities=entities,
            write=write,
        )  # fmt: skip

    def score_layers(
        self,
        facts: Facts,
        *,
        seed: int = 0,
        texts: Sequence[Path] = (),
        entities: Path | None = None,
    ) -> LayerTable:
        """How well each layer knows the subjects of some facts, by passes over the base alone."""
        from editvc.porcelain.tune_layers import score_layers

        return score_layers(self.session, facts, seed=seed, texts=texts, entities=entities)

    def train_mend(
        self,
        facts: Facts,
        *,
        layers: Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
        published: bool = False,
        matrices: Matrices = "mlp",
        remark: Callable[[str], None] | None = None,
    ) -> Trained:
        """Train MEND's editor on facts, and use it for commits with that method from now on.

        ``layers`` are the last three without a choice, ``steps`` the most that training takes.
        ``published``: the editor's blocks are those of the paper's equations, not of its code.
        ``matrices``: all of the MLPs (``mlp``), or the down projections alone (``down``).
        ``remark`` hears how the facts held out do as training goes on.
        """
        from editvc.porcelain.train import train_mend

        return train_mend(
            self.session, facts, layers=layers, steps=steps, seed=seed, published=published,
            matrices=matrices, remark=remark,
        )  # fmt: skip

    def plan_mend(
        self,
        facts: Facts,
        *,
        layers: Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
        published: bool = False,
        matrices: Matrices = "mlp",
    ) -> TrainingPlan:
        """What :meth:`train_mend` would do, with nothing trained or written."""
        from editvc.porcelain.train import plan_mend

        return plan_mend(
            self.session, facts, layers=layers, steps=steps, seed=seed, published=published,
            matrices=matrices,
        )  # fmt: skip
