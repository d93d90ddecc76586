"""``export``: a revision as files that other tools load, checked before it counts."""

from __future__ import annotations

from pathlib import Path

from editvc.core.history import Tree
from editvc.errors import EditvcError
from editvc.interchange.staging import recover
from editvc.porcelain.export_delta import export_delta
from editvc.porcelain.export_result import Documents, Export
from editvc.session.session import Session
from editvc.session.trees import commit_at, tree_at

FORMATS = ("hf", "lora", "delta", "gguf", "gguf-lora")
WHOLE = ("hf", "gguf")
"""Formats of whole models, which have room for neurons."""


class NotInWeights(EditvcError):
    """A revision of which ``facts`` are in codebooks, which no file of weights can hold."""

    def __init__(self, revision: str, facts: int) -> None:
        count = "1 fact" if facts == 1 else f"{facts} facts"
        super().__init__(
            f"weights cannot hold a codebook, and {count} of {revision} "
            f"{'is' if facts == 1 else 'are'} in one (method grace)",
            hint="Revert them (`editvc revert FACT`), commit them with another method (`editvc "
            "commit --method memit`, after the revert), or load the revision in Python with "
            f"`editvc.Repo(...).load_model({revision!r})`.",
        )
        self.revision = revision
        self.facts = facts


def export(
    session: Session,
    target: Path,
    *,
    format: str,
    revision: str = "HEAD",
    rank: int | None = None,
    replace: bool = False,
    linear: bool = False,
    keep_width: bool = False,
    quantize: str | None = None,
    measure_on: str | None = None,
    documents: Documents | None = None,
) -> Export:
    """Write a revision to ``target``.

    ``linear``: of gated edits, an adapter holds the linear solution (:mod:`.linear`).
    ``keep_width``: in a whole model, other neurons give way to theirs (:mod:`.keep_width`).
    ``quantize``: the type of all matrices of a GGUF file.
    ``measure_on``: the 4 bits of a base that an adapter is measured on (:mod:`.quantized_base`).
    ``documents`` may be called with the base's and the result's digests and the touched tensors,
    and returns further files for the folder (card, ledger, lock). What an interrupted export left
    at ``target`` is cleared up, with a remark. Raises :class:`NotInWeights`.
    """
    tree = tree_at(session, revision)
    require_exportable(session, revision, format, linear, keep_width, quantize, measure_on)
    for told in recover(target):
        session.remark(told)
    if format == "delta":
        return export_delta(session, target, tree, replace, documents)
    # Only these load a model, and torch for it.
    if format == "lora":
        return _adapter(
            session, target, tree, revision, rank, replace, linear, measure_on, documents
        )
    if format == "hf":
        from editvc.porcelain.export_hf import export_model

        return export_model(session, target, tree, revision, replace, keep_width, documents)
    if format == "gguf":
        from editvc.porcelain.export_gguf import export_gguf

        return export_gguf(session, target, tree, revision, replace, keep_width, quantize)
    if format == "gguf-lora":
        from editvc.porcelain.export_gguf import export_gguf_adapter

        return export_gguf_adapter(session, target, tree, revision, rank, replace)
    raise AssertionError(f"{format} is among FORMATS")


def _adapter(
    session: Session,
    target: Path,
    tree: Tree,
    revision: str,
    rank: int | None,
    replace: bool,
    linear: bool,
    measure_on: str | None,
    documents: Documents | None,
) -> Export:
    from editvc.porcelain.export_lora import export_adapter
    from editvc.porcelain.linear import export_linear
    from editvc.porcelain.quantized_base import measured_on, require_four_bits

    if measure_on is not None:
        require_four_bits()
    if linear:
        done = export_linear(session, target, tree, revision, rank, replace, documents)
    else:
        delta = session.materialiser.delta(tree)
        done = export_adapter(session, target, tree, delta, revision, rank, replace, documents)
    return done if measure_on is None else measured_on(session, done, revision, measure_on)


def require_exportable(
    session: Session,
    revision: str,
    format: str,
    linear: bool = False,
    keep_width: bool = False,
    quantize: str | None = None,
    measure_on: str | None = None,
) -> None:
    """Raise where a format does not hold a revision, or for an option that is of another format."""
    if format not in FORMATS:
        raise EditvcError(
            f"unknown export format {format!r}", hint="Formats: " + ", ".join(FORMATS)
        )
    require_in_weights(session, revision)
    if linear and format != "lora":
        raise EditvcError(
            f"a linear solution of gated edits is for adapters, not for {format}",
            hint="`editvc export --format lora --linear`",
        )
    if keep_width and format not in WHOLE:
        raise EditvcError(
            f"only a whole model has a width to keep, not {format}",
            hint="`editvc export --keep-width`",
        )
    if quantize and format != "gguf":
        raise EditvcError(
            f"only a GGUF file is quantised, not {format}", hint="`editvc export --format gguf`"
        )
    if measure_on and format != "lora":
        raise EditvcError(
            f"only an adapter is measured on a base in {measure_on}, not {format}",
            hint="`editvc export --format lora`",
        )
    if format not in WHOLE and not linear:
        require_no_neurons(session, revision, format)


class NeedsNeurons(EditvcError):
    """A revision of which ``facts`` are gated edits, which only a whole model can hold."""

    def __init__(self, revision: str, facts: int, format: str) -> None:
        count = "1 fact of" if facts == 1 else f"{facts} facts of"
        holder = "a delta" if format == "delta" else "an adapter"
        super().__init__(
            f"{count} {revision} {'is' if facts == 1 else 'are'} neurons of their own (method "
            f"gated), which {holder} cannot hold: it adds "
            "to the matrices that are there",
            hint="`editvc export --format hf` writes a whole model, with wider MLPs"
            + (
                "; with --linear an adapter holds what a linear method makes of the same edits, "
                "which reaches other names."
                if format == "lora"
                else "."
            ),
        )
        self.revision = revision
        self.facts = facts


def require_no_neurons(session: Session, revision: str, format: str) -> None:
    """Raise :class:`NeedsNeurons` where facts of a revision are gated edits; reads no tensor."""
    if facts := _figure(session, revision, "gates"):
        raise NeedsNeurons(revision, facts, format)


def require_in_weights(session: Session, revision: str) -> None:
    """Raise :class:`NotInWeights` where facts of a revision are in codebooks; reads no tensor."""
    if facts := _figure(session, revision, "codebook"):
        raise NotInWeights(revision, facts)


def _figure(session: Session, revision: str, name: str) -> int:
    """A count among the figures of a revision's commit; 0 where there is none."""
    commit = commit_at(session, revision)
    if commit is None:
        return 0
    return int(dict(session.repository.graph.row(commit).health).get(name, 0))
