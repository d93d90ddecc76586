"""``export --format lora``: an adapter, loaded with PEFT and compared."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from torch.nn import Embedding

from editvc.algebra.delta import Delta
from editvc.core.history import Tree
from editvc.interchange.peft_writer import (
    STEPS,
    Adapter,
    AdapterError,
    export_lora,
    linear,
    step_for,
)
from editvc.interchange.reload_check import verify_adapter
from editvc.interchange.staging import Content
from editvc.models.loading import load
from editvc.models.source import POCKET
from editvc.models.weights import edited
from editvc.porcelain.export_result import (
    Documents,
    Export,
    ReloadDiffers,
    origin_of,
    rank_notes,
    served_name,
)
from editvc.publish.card import public_source, render_usage
from editvc.session.session import Session
from editvc.session.trees import checked_facts, commit_at

LOGIT_TOLERANCE = 1e-3
"""Largest difference of a logit between an uncut adapter and the edited model, in float32."""


def export_adapter(
    session: Session,
    target: Path,
    tree: Tree,
    delta: Delta,
    revision: str,
    rank: int | None,
    replace: bool,
    documents: Documents | None,
) -> Export:
    """An adapter of ``delta``; uncut, loaded with PEFT and compared. ``tree`` is what it is of.

    Raises :class:`ReloadDiffers`.
    """
    maker = session.materialiser
    _require_linear(session, delta)
    base_digest = maker.weights_digest

    def touched(adapter: Adapter) -> tuple[str, ...]:
        return tuple(f"{module}.weight" for module in adapter.ranks)

    def with_documents(adapter: Adapter) -> Mapping[str, Content]:
        if documents is None:
            return {"README.md": render_usage("lora", maker.base.source) + "\n"}
        return dict(documents(base_digest, adapter.digest, touched(adapter)))

    worst: list[float] = []

    def check(folder: Path) -> None:
        # Without rounding to the base's dtype: an adapter stands beside the weights, not in them.
        prompts = [fact.question for fact in checked_facts(session, revision)]
        with edited(load(maker.files), delta) as lm:
            worst.append(verify_adapter(maker.folder, folder, lm, prompts))
        if not worst[0] <= LOGIT_TOLERANCE:
            raise ReloadDiffers(
                f"the adapter differs from the revision by {worst[0]:.3g} in a logit",
                hint="Nothing was kept. Please report this; the repository is unharmed.",
            )

    done = export_lora(
        target,
        maker.architecture,
        delta,
        base=maker.base.source if documents is None else public_source(maker.base.source),
        revision=maker.base.revision,
        rank=rank,
        origin=origin_of(tree, commit_at(session, revision) if documents else None),
        replace=replace,
        documents=with_documents,
        check=check if rank is None else None,
    )
    if rank is not None:
        checks = tuple(
            f"{module}: rank {done.ranks[module]}, relative error {error:.3g}"
            for module, error in done.errors.items()
        )
    else:
        checks = (f"loaded with PEFT: largest difference of a logit {worst[0]:.2g}",)
    source = maker.base.source
    line = served_by_vllm(done.rank, str(done.path), source, tree)
    commands = () if maker.architecture.transposed else (line,)
    written = (base_digest, done.digest, touched(done), checks)
    return Export("lora", target, *written, _notes(done, source, tree), commands=commands)


def _notes(done: Adapter, base: str, tree: Tree) -> tuple[str, ...]:
    """What a user of an adapter of ``base`` should know."""
    notes = rank_notes(tree)
    if base == POCKET:
        notes += ("the base is editvc's own: `editvc export base --to pocket` writes it for PEFT",)
    return notes + _rank_of(done)


def _rank_of(done: Adapter) -> tuple[str, ...]:
    """What a server should know of a rank that is more than it takes."""
    if done.rank <= STEPS[-1]:
        return ()
    return (
        f"vLLM takes adapters of rank {STEPS[-1]} at most, and this one has {done.rank}: "
        f"`--rank {STEPS[-1]}` cuts it, by a relative error of at most {done.excess:.3g}",
    )


def served_by_vllm(rank: int, place: str, base: str, tree: Tree) -> str:
    """The line that serves an adapter, a folder or a Hub id, beside its base."""
    return shlex.join(
        ("vllm", "serve", base, "--enable-lora", "--max-lora-rank", str(rank),
         "--lora-modules", f"{served_name(tree)}={place}")
    )  # fmt: skip


def serving_from_hub(session: Session, tree: Tree, repo_id: str) -> tuple[str, ...]:
    """The line that serves an adapter of a tree from the Hub; none where servers take none."""
    maker = session.materialiser
    if maker.architecture.transposed:
        return ()
    parts = linear(maker.architecture, maker.delta(tree)).values()
    rank = step_for(max(min(part.rank, *part.shape) for part in parts))
    return (served_by_vllm(rank, repo_id, public_source(maker.base.source), tree),)


def _require_linear(session: Session, delta: Delta) -> None:
    """An import may have changed the embedding, which is a matrix but no linear module."""
    for name in delta.weights:
        module = session.base_model().model.get_submodule(name.rpartition(".")[0])
        if isinstance(module, Embedding):
            raise AdapterError(
                f"'{name}' is changed, and LoRA reaches the weights of linear modules only",
                hint="Export it as hf or delta.",
            )
