"""Exports that are loaded again, and asked, before they count: a whole model, or an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.nn import Embedding

from editvc.algebra.delta import Delta
from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.errors import EditvcError
from editvc.evaluation.scores import room, says
from editvc.interchange.hf_checkpoint import Exported, changes_of, export_hf
from editvc.interchange.peft_writer import Adapter, AdapterError, export_lora
from editvc.interchange.reload_check import verify_adapter, verify_reload
from editvc.models.checkpoint import Checkpoint, weights_digest
from editvc.models.loading import POCKET, edited, generate
from editvc.porcelain.export import Answer, Export, rank_notes
from editvc.porcelain.session import Session
from editvc.porcelain.trees import live_facts
from editvc.publish.card import render_usage

PROMPTS = 3
"""How many live facts an export is asked about after it was loaded again."""
LENGTH = 12
"""Tokens generated for a check, where no fact needs more."""
LOGIT_TOLERANCE = 1e-3
"""Largest difference of a logit between an uncut adapter and the edited model, in float32."""

Documents = Mapping[str, "str | bytes"]


class ReloadDiffers(EditvcError):
    """An export that loads but does not answer as the revision does. It was not kept."""


def export_model(
    session: Session, target: Path, tree: Tree, revision: str, replace: bool, documents: Any
) -> Export:
    """A whole model, loaded with plain transformers and asked; raises :class:`ReloadDiffers`."""
    maker = session.materialiser
    facts = _asked(session, revision)
    length = room(session.base_model()[1], facts, LENGTH)
    expected = _answers(session, tree, facts, length)

    def check(folder: Path) -> None:
        replies = verify_reload(folder, [fact.question for fact in facts], max_new_tokens=length)
        for fact, now, before in zip(facts, replies, expected, strict=True):
            if now != before:
                raise ReloadDiffers(
                    f"the export answers {fact.question!r} with {now!r}, "
                    f"the revision with {before!r}",
                    hint="Nothing was kept. `editvc fsck` checks the repository.",
                )

    def with_documents(exported: Exported) -> Documents:
        return dict(documents(exported.base_digest, exported.digest, exported.touched))

    done = export_hf(
        maker.folder,
        target,
        changes_of(maker.architecture, maker.delta(tree)),
        replace=replace,
        documents=with_documents if documents else None,
        check=check,
        progress=session.progress,
    )
    answers = tuple(
        Answer(fact, reply.rstrip(), says(reply.strip(), fact))
        for fact, reply in zip(facts, expected, strict=True)
    )
    checks = tuple(answer.line for answer in answers)
    return Export(
        "hf", target, done.base_digest, done.digest, done.touched, checks, done.notes, answers
    )


def export_adapter(
    session: Session,
    target: Path,
    tree: Tree,
    revision: str,
    rank: int | None,
    replace: bool,
    documents: Any,
) -> Export:
    """An adapter; uncut, loaded with PEFT and compared. Raises :class:`ReloadDiffers`."""
    maker = session.materialiser
    _require_linear(session, maker.delta(tree))
    base_digest = weights_digest(Checkpoint(maker.folder).digests())

    def touched(adapter: Adapter) -> tuple[str, ...]:
        return tuple(f"{module}.weight" for module in adapter.ranks)

    def with_documents(adapter: Adapter) -> Documents:
        if documents is None:
            return {"README.md": render_usage("lora", maker.base.source) + "\n"}
        return dict(documents(base_digest, adapter.digest, touched(adapter)))

    worst: list[float] = []

    def check(folder: Path) -> None:
        # Without rounding to the base's dtype: an adapter stands beside the weights, not in them.
        model, _ = session.base_model()
        prompts = [fact.question for fact in _asked(session, revision)]
        with edited(model, maker.architecture, maker.delta(tree)):
            worst.append(verify_adapter(maker.folder, folder, model, prompts))
        if not worst[0] <= LOGIT_TOLERANCE:
            raise ReloadDiffers(
                f"the adapter differs from the revision by {worst[0]:.3g} in a logit",
                hint="Nothing was kept. Please report this; the repository is unharmed.",
            )

    done = export_lora(
        target,
        maker.architecture,
        maker.delta(tree),
        base=maker.base.source,
        revision=maker.base.revision,
        rank=rank,
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
    notes = rank_notes(tree)
    if maker.base.source == POCKET:
        notes += ("the base is editvc's own: `editvc export base --to pocket` writes it for PEFT",)
    return Export("lora", target, base_digest, done.digest, touched(done), checks, notes)


def _require_linear(session: Session, delta: Delta) -> None:
    """An import may have changed the embedding, which is a matrix but no linear module."""
    for name in delta.weights:
        module = session.base_model()[0].get_submodule(name.rpartition(".")[0])
        if isinstance(module, Embedding):
            raise AdapterError(
                f"'{name}' is changed, and LoRA reaches the weights of linear modules only",
                hint="Export it as hf or delta.",
            )


def _asked(session: Session, revision: str) -> list[Fact]:
    return list(live_facts(session, revision).values())[:PROMPTS]


def _answers(session: Session, tree: Tree, facts: list[Fact], length: int) -> list[str]:
    with session.edited(tree) as (model, tokenizer):
        return [generate(model, tokenizer, fact.question, length) for fact in facts]
