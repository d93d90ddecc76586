"""``publish``: past the health gate, to the Hub, with card, ledger and lock file."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.cut import title
from editvc.core.facts import Fact
from editvc.core.history import Entry
from editvc.core.ids import ObjectId, short
from editvc.core.methods.recipe import Recipe
from editvc.errors import GateError
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK
from editvc.interchange.staging import Content
from editvc.models.source import POCKET
from editvc.porcelain.blame import blame
from editvc.porcelain.export import export, require_in_weights
from editvc.porcelain.export_lora import serving_from_hub
from editvc.porcelain.export_result import Export
from editvc.porcelain.health import HealthReport, check_health
from editvc.porcelain.kept_scores import kept_scores
from editvc.publish.card import (
    CardInput,
    LedgerRow,
    hub_id,
    ledger_jsonl,
    public_source,
    render_card,
)
from editvc.publish.evaluations import Measured, eval_results
from editvc.publish.hub import publish as push
from editvc.publish.lock import Lock, LockedEdit
from editvc.publish.model_signature import signer
from editvc.session.changes import live_patch
from editvc.session.published_set import write_set
from editvc.session.session import Session
from editvc.session.user_hooks import PRE_PUBLISH, run_hook
from editvc.vcs.codec import metadata
from editvc.vcs.object_links import links


class HealthRefused(GateError):
    """The health gate said no, and nothing was pushed. ``reasons`` are in words."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            "the health gate refuses to publish: " + "; ".join(reasons),
            hint="`editvc health` shows the figures; `editvc squash` or `editvc compact` often "
            "cure them. --force publishes in spite of it.",
        )
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Published:
    """Where a revision went.

    ``overridden`` are the gate's reasons that --force ignored, ``warnings`` those of the export.
    ``bundle`` is the size of what it can be rebuilt from, in bytes; ``None`` where that stayed.
    """

    url: str
    commit: str
    digest: str
    overridden: tuple[str, ...]
    warnings: tuple[str, ...]
    bundle: int | None

    def to_json(self) -> dict[str, Any]:
        """For ``publish --json``."""
        return {
            "url": self.url,
            "commit": self.commit,
            "digest": self.digest,
            "overridden": list(self.overridden),
            "warnings": list(self.warnings),
            "bundle": self.bundle,
        }


def publish(
    session: Session,
    repo_id: str,
    *,
    revision: str = "HEAD",
    format: str = "hf",
    private: bool = False,
    create_pr: bool = False,
    force: bool = False,
    bundle: bool = True,
    message: str | None = None,
    sign: Path | None = None,
    password: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Published:
    """Push a revision to ``repo_id``; with its set in a ``bundle``, for ``rebuild`` and ``clone``.

    ``sign`` is the private key that signs all of it.

    Raises :class:`HealthRefused` unless healthy or forced, ``HookRefused``, ``KeyUnusable``, and
    :class:`editvc.porcelain.export.NotInWeights`.
    """
    put_signature = signer(sign, password) if sign is not None else None
    require_in_weights(session, revision)
    # One commit from here on: what is judged is what is pushed, wherever HEAD goes meanwhile.
    commit = session.repository.revisions.commit(revision)
    health = require_healthy(session, commit, force=force)
    about = {
        "repository": repo_id,
        "commit": commit,
        "format": format,
        "verdict": health.verdict,
        "reasons": list(health.reasons),
    }
    run_hook(session, PRE_PUBLISH, lambda: about)
    with tempfile.TemporaryDirectory(prefix="editvc-publish-") as scratch:
        packed = write_set(session, commit, Path(scratch) / BUNDLE) if bundle else None

        def documents(base_digest: str, digest: str, touched: Sequence[str]) -> dict[str, Content]:
            return _documents(
                session, repo_id, commit, format, health, packed, base_digest, digest,
                tuple(touched),
            )  # fmt: skip

        exported: Export = export(
            session, Path(scratch) / "export", format=format, revision=commit, documents=documents
        )
        if put_signature is not None:
            put_signature(exported.path)
        pushed = push(
            exported.path, repo_id, private=private, create_pr=create_pr,
            message=message or title(session.repository.read_commit(commit).message),
            token=token, endpoint=endpoint, progress=session.progress,
        )  # fmt: skip
        size = packed.stat().st_size if packed else None
    overridden = health.reasons if health.verdict == "refuse" else ()
    return Published(
        pushed.url, pushed.commit, exported.digest, tuple(overridden), exported.warnings, size
    )


def require_healthy(session: Session, revision: str, *, force: bool) -> HealthReport:
    """What health says; raises :class:`HealthRefused` where it refuses, unless ``force``."""
    health = check_health(session, revision)
    if health.verdict == "refuse" and not force:
        raise HealthRefused(health.reasons)
    return health


@dataclass(frozen=True, slots=True)
class _Live:
    """A live edit, the commit that brought it, and what its located edit says of itself."""

    entry: Entry
    fact: Fact
    commit: ObjectId
    origin: dict[str, Any]

    @property
    def row(self) -> LedgerRow:
        """Its line of the ledger."""
        return LedgerRow(
            subject=self.fact.subject,
            prompt=self.fact.prompt,
            target_new=self.fact.target_new,
            target_true=self.fact.target_true,
            commit=self.commit,
            fact=self.entry.fact,
            recipe=self.origin["recipe"],
        )


def _documents(
    session: Session,
    repo_id: str,
    commit: ObjectId,
    format: Any,
    health: HealthReport,
    packed: Path | None,
    base_digest: str,
    digest: str,
    touched: tuple[str, ...],
) -> dict[str, Content]:
    """README.md, the whole ledger, and the lock file, as the card and lock modules write them;
    and the set, where it is ``packed``.
    """
    plumbing, base = session.repository, session.materialiser.base
    row = plumbing.graph.row(commit)
    live = [
        _Live(
            entry,
            plumbing.read_fact(entry.fact),
            brought,
            metadata(plumbing.store.get(entry.element)),
        )
        for entry, brought in blame(session, commit).values()
    ]
    imported = plumbing.read_tree(row.tree).patches
    patches = [live_patch(session, one).to_json() for one in imported]
    recipes = [plumbing.read_recipe(one) for one in sorted({one.origin["recipe"] for one in live})]
    ledger = [one.row for one in live]
    card = CardInput(
        format=format,
        title=repo_id.split("/")[-1],
        base_source=public_source(base.source),
        base_repo=hub_id(base.source),
        base_revision=base.revision,
        base_digest=base_digest,
        digest=digest,
        commit=commit,
        tree=row.tree,
        ledger=ledger,
        recipes=[recipe.to_json() for recipe in recipes],
        verdict=health.verdict,
        reasons=health.reasons,
        health=health.summary_figures(),
        touched=touched,
        serve=_serve(session, repo_id, format, row.tree),
        patches=patches,
        evaluations=eval_results(
            [Measured(one.suite, one.data, one.figures) for one in kept_scores(session, row.tree)]
        ),
        rebuild=_commands(repo_id, base.source)
        if packed
        else (f"editvc export {short(commit)} --to DIR --format {format}",),
        bundled=packed is not None,
    )
    export = {"format": format, "digest": digest, "base_digest": base_digest}
    described = session.materialiser.folder / "README.md"
    base_card = described.read_text("utf-8", "replace") if described.is_file() else None
    papers: dict[str, Content] = {
        "README.md": render_card(card, base_card=base_card),
        LEDGER: ledger_jsonl(ledger),
        LOCK: _lock(session, row.tree, recipes, live, patches, export).to_bytes(),
    }
    return papers | ({BUNDLE: packed} if packed else {})


def _commands(repo_id: str, source: str) -> tuple[str, ...]:
    """What makes a published model again, and a repository of it."""
    at_hand = source == POCKET or hub_id(source) is not None
    base = "" if at_hand else f" --base {shlex.quote(public_source(source))}"
    return (f"editvc rebuild {repo_id} -o DIR{base}", f"editvc clone {repo_id} DIR{base}")


def _serve(session: Session, repo_id: str, format: str, tree: ObjectId) -> tuple[str, ...]:
    """The commands that serve what was published; a delta is loaded by nobody but editvc."""
    if format == "lora":
        return serving_from_hub(session, session.repository.read_tree(tree), repo_id)
    return (f"vllm serve {repo_id}",) if format == "hf" else ()


def _lock(
    session: Session,
    tree: ObjectId,
    recipes: Sequence[Recipe],
    live: Sequence[_Live],
    patches: Sequence[dict[str, Any]],
    export: dict[str, Any],
) -> Lock:
    plumbing = session.repository
    moments = {moment for recipe in recipes for _, moment in links(recipe.to_json())}
    base = session.materialiser.base
    return Lock(
        base=replace(base, source=public_source(base.source)),
        recipes=tuple(recipes),
        tree=tree,
        restraint=plumbing.read_tree(tree).restraint,
        edits=tuple(
            LockedEdit(
                slot=one.entry.slot,
                fact=one.fact,
                located=one.entry.element,
                recipe=one.origin["recipe"],
                batch=one.origin.get("batch"),
            )
            for one in live
        ),
        export=export,
        patches=tuple(patches),
        statistics={moment: metadata(plumbing.store.get(moment)) for moment in moments},
    )
