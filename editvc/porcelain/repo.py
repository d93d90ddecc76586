"""``Repo``: the front door of editvc, for Python as for the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.facts import Fact
from editvc.core.formats import SourcedFact
from editvc.core.history import Restraint, Tree
from editvc.core.ids import ObjectId
from editvc.core.patch_recipes import AnyRecipe
from editvc.core.recipe import Recipe
from editvc.porcelain import branching, reading
from editvc.porcelain.facts import Facts, sourced
from editvc.vcs.files import Fault
from editvc.vcs.index import CommitRow
from editvc.vcs.repo import Repository

if TYPE_CHECKING:
    from editvc.editing.chat import Turn
    from editvc.editing.delta import Delta
    from editvc.materialise.materialiser import Materialiser
    from editvc.porcelain.checking import HealthReport
    from editvc.porcelain.evaluating import Evaluation
    from editvc.porcelain.exporting import Export
    from editvc.porcelain.grep import Matches
    from editvc.porcelain.importing import ImportPreview, ImportResult
    from editvc.porcelain.previewing import CompactPreview, Preview, RevertPreview, SquashPreview
    from editvc.porcelain.publishing import Published
    from editvc.porcelain.recipes import Chosen
    from editvc.porcelain.recording import CommitResult
    from editvc.porcelain.reverting import RevertResult
    from editvc.porcelain.squashing import SquashResult
    from editvc.porcelain.statistics import Described, StatisticsResult
    from editvc.porcelain.tracing import Corruption, TraceReport
    from editvc.porcelain.training import Trained, TrainingPlan
    from editvc.porcelain.tuning import Tuning
    from editvc.vcs.fsck import Report
    from editvc.vcs.read_only import Rows

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, how much there is)."""

NOBODY = "nobody <>"
"""The author where neither the caller nor config.toml names one."""


class Repo:
    """A repository of edits over one base model.

    ``path`` is the folder that holds ``.editvc`` or any folder below it. ``clock`` gives seconds
    since the epoch; ``progress`` hears of long work. Methods return frozen values and print
    nothing. Those that need tensors import torch when they are called.
    """

    def __init__(
        self,
        path: str | Path = ".",
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        progress: Progress | None = None,
        fault: Fault | None = None,
    ) -> None:
        self.repository = Repository.find(Path(path), fault)
        self.clock = clock
        self.progress = progress

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
        progress: Progress | None = None,
        remark: Callable[[str], None] | None = None,
    ) -> Repo:
        """Make a repository in ``path`` over a model folder, a Hub id, or ``pocket``.

        ``architecture`` is a file with the confirmed block of a family that the architecture table
        lacks (:func:`editvc.porcelain.architecture.look_at` finds one). ``remark`` hears what a
        user should know of the choices made, such as the statistics.
        """
        from editvc.porcelain.starting import init

        init(
            Path(path), model, revision=revision, layers=layers, texts=texts, entities=entities,
            architecture=architecture, progress=progress, remark=remark or (lambda text: None),
        )  # fmt: skip
        return cls(path, progress=progress)

    # -- writing ----------------------------------------------------------------------------

    def commit(
        self,
        facts: Facts,
        *,
        recipe: AnyRecipe | None = None,
        message: str | None = None,
        author: str | None = None,
        supersede: bool = False,
        sequential: bool = False,
        remark: Callable[[str], None] | None = None,
    ) -> CommitResult:
        """Commit facts (values, dictionaries in any accepted format, or a file) on HEAD.

        All or nothing: one bad record, and nothing is written. ``recipe`` is that of config.toml,
        or the ``recipe`` of what :meth:`choose` gives. ``supersede`` lets a fact take the slot of
        a live one that says otherwise. ``sequential`` makes patches on HEAD's weights, as papers
        measure edits one after the other. ``remark`` hears of edits that look like disabling ones
        before the branch moves; what it raises cancels the commit.
        """
        from editvc.porcelain.committing import commit

        return commit(
            self, sourced(facts), recipe=recipe or self.recipe(), message=message,
            author=self._author(author), supersede=supersede, sequential=sequential, remark=remark,
        )  # fmt: skip

    def choose(
        self, method: str | None = None, *, options: Sequence[str] = (), file: Path | None = None
    ) -> Chosen:
        """The recipe of a method, with options ``"key=value"`` and a file of hyper-parameters."""
        from editvc.porcelain.recipes import choose

        return choose(self, method, options, file)

    def preview(
        self,
        facts: Facts,
        *,
        recipe: AnyRecipe | None = None,
        supersede: bool = False,
        sequential: bool = False,
    ) -> Preview:
        """What :meth:`commit` would do, with nothing written."""
        from editvc.porcelain.previewing import preview

        recipe = recipe or self.recipe()
        return preview(
            self, sourced(facts), recipe=recipe, supersede=supersede, sequential=sequential
        )

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
        from editvc.porcelain.importing import import_patch

        return import_patch(
            self, Path(source), rank=rank, energy=energy, message=message,
            author=self._author(author),
        )  # fmt: skip

    def revert(
        self, target: str, *, message: str | None = None, author: str | None = None
    ) -> RevertResult:
        """Take the edits of a revision, or one live fact by its id, out of the set."""
        from editvc.porcelain.reverting import revert

        return revert(self, target, message=message, author=self._author(author))

    def squash(
        self, revisions: str, *, message: str | None = None, author: str | None = None
    ) -> SquashResult:
        """Locate a range of commits again as one batch and fold them into one commit."""
        from editvc.porcelain.squashing import squash

        return squash(self, revisions, message=message, author=self._author(author))

    def compact(
        self, restraint: Restraint, *, message: str | None = None, author: str | None = None
    ) -> CommitResult:
        """Commit HEAD's set under a restraint (PRUNE, a rank or an energy cut)."""
        from editvc.porcelain.compacting import compact

        return compact(self, restraint, message=message, author=self._author(author))

    def preview_import(
        self, source: str | Path, *, rank: int | None = None, energy: float | None = None
    ) -> ImportPreview:
        """What :meth:`import_patch` would take over."""
        from editvc.porcelain.importing import preview_import

        return preview_import(self, Path(source), rank=rank, energy=energy)

    def preview_revert(self, target: str) -> RevertPreview:
        """What :meth:`revert` would do."""
        from editvc.porcelain.previewing import preview_revert

        return preview_revert(self, target)

    def preview_squash(self, revisions: str) -> SquashPreview:
        """What :meth:`squash` would do."""
        from editvc.porcelain.previewing import preview_squash

        return preview_squash(self, revisions)

    def preview_compact(self, restraint: Restraint) -> CompactPreview:
        """What :meth:`compact` would do."""
        from editvc.porcelain.previewing import preview_compact

        return preview_compact(self, restraint)

    # -- reading ----------------------------------------------------------------------------

    def status(self) -> reading.Status:
        """Where HEAD is and what it holds."""
        return reading.status(self)

    def log(self, revision: str = "HEAD", limit: int | None = None) -> list[CommitRow]:
        """Commits that a revision reaches, newest first."""
        return reading.log(self, revision, limit)

    def grep(self, text: str, revision: str | None = "HEAD", *, messages: bool = True) -> Matches:
        """Facts live at a revision, and commits that it reaches, with all words of ``text``.

        Without a revision, everything that was ever committed.
        """
        from editvc.porcelain.grep import grep

        return grep(self, text, revision, messages=messages)

    def query(self, sql: str) -> Rows:
        """What one SQL statement, which only reads, gives of the index (see docs/formats.md)."""
        from editvc.porcelain.query import query

        return query(self, sql)

    def live(self, revision: str = "HEAD") -> list[Fact]:
        """The live facts of a revision, in slot order."""
        return list(reading.live_facts(self, revision).values())

    def changes(self, before: str, after: str) -> reading.FactChanges:
        """The facts that two revisions do not share."""
        return reading.fact_changes(
            self, reading.tree_at(self, before), reading.tree_at(self, after)
        )

    def delta_norms(self, before: str, after: str) -> dict[int | str, float]:
        """Frobenius norm of the change of every edited layer between two revisions.

        Weights other than down projections, which imports change, go by their names.
        """
        old, new = reading.tree_at(self, before), reading.tree_at(self, after)
        if old == new:
            delta = self.materialiser.delta(new)
            return dict.fromkeys([*delta.layers, *delta.weights], 0.0)
        difference = self.materialiser.delta(new) - self.materialiser.delta(old)
        norms: dict[int | str, float] = {}
        for layer, one in difference.layers.items():
            norms[layer] = one.frobenius()
        for name, one in difference.weights.items():
            norms[name] = one.frobenius()
        return norms

    def materialize(self, revision: str = "HEAD") -> Delta:
        """The exact low-rank delta of a revision, to be added to the base's weights."""
        return self.materialiser.delta(reading.tree_at(self, revision))

    def ask(self, prompt: str, *, at: str = "HEAD", max_new_tokens: int = 16) -> str:
        """What the model of a revision says after ``prompt``, by greedy generation."""
        from editvc.editing.loading import generate

        with self.edited(reading.tree_at(self, at)) as (model, tokenizer):
            return generate(model, tokenizer, prompt, max_new_tokens)

    def evaluate(self, facts: Facts | None = None, *, at: str = "HEAD") -> Evaluation:
        """What a revision says of facts, or of its own live ones: generation and scores."""
        from editvc.porcelain.evaluating import evaluate

        if facts is None:
            return evaluate(self, self.live(at), at)
        read = [one.fact for one in sourced(facts) if one.duplicate_of is None]
        return evaluate(self, read, at)

    def in_chat(self, facts: Facts) -> list[SourcedFact]:
        """The same facts, asked as a user's turn of the base's chat template: see :meth:`turn`.

        Prompts, paraphrases and locality prompts all are; each fact has a slot of its own, beside
        that of the plain one.
        """
        turn = self.turn()
        return [replace(one, fact=turn.asking(one.fact)) for one in sourced(facts)]

    def turn(self) -> Turn:
        """What the base's chat template writes around a user's words, such as a prompt to ask.

        Raises :class:`editvc.editing.chat.ChatTemplateError`.
        """
        from editvc.editing.chat import turn_of

        return turn_of(self.load_tokenizer())

    def load_model(self, revision: str = "HEAD") -> Any:
        """A fresh transformers model that answers as a revision does.

        On the CPU in float32; the edited weights are rounded to the base's dtype first, so that
        they are those of an export. The revision's codebooks are attached to it for good, as
        forward hooks (:func:`editvc.editing.codebook.attach`): what ``save_pretrained`` writes
        holds the weights without them.
        """
        from editvc.porcelain.models import load_model

        return load_model(self, reading.tree_at(self, revision))

    def load_tokenizer(self) -> Any:
        """The base's tokenizer."""
        return self.base_model()[1]

    def health(self, revision: str = "HEAD") -> HealthReport:
        """Figures per layer, a verdict with its reasons, and the trend along history."""
        from editvc.porcelain.checking import check_health

        return check_health(self, revision)

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
        from editvc.porcelain.tracing import Corruption, trace_facts

        how = corruption or Corruption()
        return trace_facts(self, sourced(facts), at=at, kind=kind, corruption=how)

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
        from editvc.porcelain.tracing import Corruption, trace_prompt

        how = corruption or Corruption()
        return trace_prompt(self, prompt, subject, target, at=at, kind=kind, corruption=how)

    def fsck(self) -> Report:
        """Verify every object, reference and index row."""
        from editvc.vcs.fsck import fsck

        return fsck(self.repository)

    # -- sharing ----------------------------------------------------------------------------

    def export(
        self,
        to: str | Path,
        *,
        format: str = "hf",
        revision: str = "HEAD",
        rank: int | None = None,
        replace: bool = False,
    ) -> Export:
        """Write a revision as a model folder (``hf``), a PEFT adapter (``lora``) or factors."""
        from editvc.porcelain.exporting import export

        return export(self, Path(to), format=format, revision=revision, rank=rank, replace=replace)

    def publish(self, repo_id: str, **options: Any) -> Published:
        """Push a revision to the Hub, past the health gate, with card, ledger and lock file.

        Options are those of :func:`editvc.porcelain.publishing.publish`.
        """
        from editvc.porcelain.publishing import publish

        return publish(self, repo_id, **options)

    # -- statistics -------------------------------------------------------------------------

    def statistics(self) -> list[Described]:
        """The statistics that the recipe in force uses, and what they were taken from."""
        from editvc.porcelain.statistics import described

        return described(self)

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
        from editvc.porcelain.statistics import compute

        return compute(
            self, texts=texts, dataset=dataset, entities=entities, budget=budget,
            token_cap=token_cap,
        )  # fmt: skip

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
        from editvc.porcelain.tuning import FULL, QUICK, adopt, tune

        found = tune(
            self, sourced(facts), grid=QUICK if quick else FULL, seed=seed, texts=texts,
            entities=entities,
        )  # fmt: skip
        if write:
            adopt(self, found)
        return found

    # -- training ---------------------------------------------------------------------------

    def train_mend(
        self,
        facts: Facts,
        *,
        layers: Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
        remark: Callable[[str], None] | None = None,
    ) -> Trained:
        """Train MEND's editor on facts, and use it for commits with that method from now on.

        ``layers`` are the last three without a choice, ``steps`` the most that training takes.
        ``remark`` hears how the facts held out do as training goes on.
        """
        from editvc.porcelain.training import plan_mend, train_mend

        plan = plan_mend(self, sourced(facts), layers=layers, steps=steps, seed=seed)
        return train_mend(self, plan, remark=remark)

    def plan_mend(
        self,
        facts: Facts,
        *,
        layers: Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> TrainingPlan:
        """What :meth:`train_mend` would do, with nothing trained or written."""
        from editvc.porcelain.training import plan_mend

        return plan_mend(self, sourced(facts), layers=layers, steps=steps, seed=seed)

    # -- branches ---------------------------------------------------------------------------

    def branches(self) -> list[branching.Branch]:
        """Every branch, the current one marked."""
        return branching.branches(self)

    def create_branch(self, name: str, at: str = "HEAD") -> None:
        """A new branch at a revision."""
        branching.create(self, name, at, author=self._author(None))

    def delete_branch(self, name: str) -> ObjectId:
        """Remove a branch that is not the current one; its commits stay reachable by id."""
        return branching.delete(self, name, author=self._author(None))

    def switch(self, name: str) -> None:
        """Make a branch the current one."""
        branching.switch(self, name, author=self._author(None))

    def detach(self, revision: str) -> ObjectId:
        """Put HEAD on a commit, on no branch."""
        return branching.detach(self, revision, author=self._author(None))

    # -- shared state of one process ----------------------------------------------------------

    @cached_property
    def materialiser(self) -> Materialiser:
        """Makes tensors of trees; keeps what it has read and factored."""
        from editvc.materialise.materialiser import Materialiser

        return Materialiser(self.repository)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from editvc.editing.loading import load

        return load(self.materialiser.folder, block=self.materialiser.base.architecture)

    def base_model(self) -> tuple[Any, Any]:
        """The base model and tokenizer of this process, loaded once; unedited between calls."""
        return self._loaded

    @property
    def holds_model(self) -> bool:
        """Whether this process has loaded the base model already."""
        return "_loaded" in vars(self)

    def edited(self, tree: Tree) -> AbstractContextManager[tuple[Any, Any]]:
        """The process's model with the weights and codebooks of ``tree``; then the base again."""
        from editvc.porcelain.models import edited

        return edited(self, tree)

    def recipe(self) -> Recipe:
        """The recipe in config.toml: what facts are located with from now on."""
        return self.repository.config.recipe

    def _author(self, author: str | None) -> str:
        return author or self.repository.config.user.author or NOBODY
