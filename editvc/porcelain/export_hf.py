"""``export --format hf``: a whole model, loaded with plain transformers and asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from editvc.algebra.neurons import Neurons
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.evaluation.scores import answers_correctly, room
from editvc.interchange.hf_checkpoint import Exported, changes_of, export_hf
from editvc.interchange.reload_check import reloaded, verify_reload
from editvc.interchange.replacing import Replacing
from editvc.interchange.staging import Content
from editvc.interchange.widening import Widening, widen
from editvc.materialise.edited_model import load_edited
from editvc.models.checkpoint import Checkpoint
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel
from editvc.models.loading import REFERENCE
from editvc.porcelain.export_result import Answer, Documents, Export, ReloadDiffers, origin_of
from editvc.porcelain.keep_width import cost, replacing
from editvc.session.session import Session
from editvc.session.trees import checked_facts, commit_at

LENGTH = 12
"""Tokens generated for a check, where no fact needs more."""


def export_model(
    session: Session,
    target: Path,
    tree: Tree,
    revision: str,
    replace: bool,
    keep_width: bool,
    documents: Documents | None,
) -> Export:
    """A whole model, loaded with plain transformers and asked; raises :class:`ReloadDiffers`.

    Where neurons gave way to ``keep_width`` it may answer otherwise: then that is told, and what
    it costs on text.
    """
    maker = session.materialiser
    facts = checked_facts(session, revision)
    with _asked(session, tree) as lm:
        length = room(lm.tokenizer, facts, LENGTH)
        expected = [generate(lm, fact.question, length) for fact in facts]
        dtype, device = lm.dtype, lm.device

    neurons = maker.neurons(tree)
    replies, costs = list[str](), list[str]()

    def check(folder: Path) -> None:
        replies.extend(
            verify_reload(
                folder,
                maker.architecture,
                [fact.question for fact in facts],
                max_new_tokens=length,
                dtype=dtype,
                device=device,
            )
        )
        if neurons and keep_width:
            exported = reloaded(folder, maker.architecture, dtype=dtype, device=device)
            costs.append(cost(lm, exported))
            return
        _require_same(facts, replies, expected)

    def with_documents(exported: Exported) -> Mapping[str, Content]:
        assert documents is not None, "it is passed on only where there are some"
        return dict(documents(exported.base_digest, exported.digest, exported.touched))

    done = export_hf(
        maker.folder,
        target,
        changes_of(maker.architecture, maker.delta(tree)),
        mlps=with_room(session, neurons, keep_width) if neurons else None,
        origin=origin_of(tree, commit_at(session, revision) if documents else None),
        replace=replace,
        documents=with_documents if documents else None,
        check=check,
        progress=session.progress,
    )
    answers = tuple(
        Answer(fact, reply.rstrip(), answers_correctly(reply.strip(), fact))
        for fact, reply in zip(facts, replies, strict=True)
    )
    checks = (*(answer.line for answer in answers), *costs)
    return Export(
        "hf", target, done.base_digest, done.digest, done.touched, checks, done.notes, answers
    )


def write_model(
    session: Session,
    target: Path,
    tree: Tree,
    documents: Callable[[Exported], Mapping[str, Content]] | None = None,
    *,
    replace: bool = False,
) -> Exported:
    """A whole model that nobody asks: for one that is looked at once, or known by its digest."""
    maker = session.materialiser
    neurons = maker.neurons(tree)
    return export_hf(
        maker.folder,
        target,
        changes_of(maker.architecture, maker.delta(tree)),
        mlps=with_room(session, neurons, keep_width=False) if neurons else None,
        origin=origin_of(tree),
        replace=replace,
        documents=documents,
        progress=session.progress,
    )


def _require_same(facts: Sequence[Fact], replies: Sequence[str], expected: Sequence[str]) -> None:
    """Raise :class:`ReloadDiffers` for the first fact that an export answers otherwise."""
    for fact, now, before in zip(facts, replies, expected, strict=True):
        if now != before:
            raise ReloadDiffers(
                f"the export answers {quoted(fact.question)} with {quoted(now)}, "
                f"the revision with {quoted(before)}",
                hint="Nothing was kept. `editvc fsck` checks the repository.",
                details=fact.request.to_json() | {"export": now, "revision": before},
            )


def with_room(
    session: Session, neurons: Mapping[int, Neurons], keep_width: bool
) -> Widening | Replacing:
    """Neurons in the base's files: in the place of others, or beside them, as config.toml says."""
    if keep_width:
        return replacing(session, neurons)
    maker = session.materialiser
    multiple = session.repository.config.export.width_multiple
    return widen(maker.architecture, Checkpoint(maker.folder), neurons, maker.base.layers, multiple)


@contextmanager
def _asked(session: Session, tree: Tree) -> Iterator[LanguageModel]:
    """The model that an export of a tree is compared with.

    Neurons beside an MLP are summed apart from it, and in the export within it. Rounded to 16 bits,
    that is another word now and then; so such a tree is asked in float32, and its export as well.
    """
    if session.materialiser.neurons(tree):
        yield load_edited(session.materialiser, tree, REFERENCE)
    else:
        with session.edited(tree) as lm:
            yield lm
