"""``export``: a revision as files that other tools load, checked before it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.ids import object_id
from editvc.errors import EditvcError
from editvc.interchange.delta_file import export_delta
from editvc.models.architectures import architecture_of
from editvc.porcelain.delta_cache import delta_file
from editvc.porcelain.session import Session
from editvc.porcelain.trees import tree_at

FORMATS = ("hf", "lora", "delta")


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What an export, loaded again, said of a live fact; ``right`` where it is what the fact says.

    A wrong one is the revision's own: an export that answers otherwise is not kept.
    """

    fact: Fact
    completion: str
    right: bool

    @property
    def line(self) -> str:
        """In words; a wrong answer is marked as such."""
        line = f"reloaded in transformers: {self.fact.question!r} ->{self.completion!r}"
        return line if self.right else f"{line} WRONG, the fact is {self.fact.target_new!r}"

    def to_json(self) -> dict[str, Any]:
        """For ``export --json``."""
        return {
            "fact": self.fact.id,
            "question": self.fact.question,
            "target_new": self.fact.target_new,
            "answer": self.completion.strip(),
            "right": self.right,
        }


@dataclass(frozen=True, slots=True)
class Export:
    """What ``export`` wrote and how it was checked.

    ``digest`` is over all exported weights; ``base_digest`` over the base's, where the export
    holds a whole model or adapts one. ``answers`` are those of a whole model; ``checks`` say them
    in words.
    """

    kind: str
    path: Path
    base_digest: str | None
    digest: str
    touched: tuple[str, ...]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    answers: tuple[Answer, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should look at, in words."""
        wrong = sum(not answer.right for answer in self.answers)
        if not wrong:
            return ()
        return (
            f"the export answers {wrong} of {len(self.answers)} prompts wrong; it was kept, for "
            "the revision says the same (`editvc eval` asks for all facts)",
        )

    def to_json(self) -> dict[str, Any]:
        """The contract of ``export --json``."""
        return {
            "format": self.kind,
            "path": str(self.path),
            "base_digest": self.base_digest,
            "digest": self.digest,
            "touched": list(self.touched),
            "checks": list(self.checks),
            "answers": [answer.to_json() for answer in self.answers],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def export(
    session: Session,
    target: Path,
    *,
    format: str,
    revision: str = "HEAD",
    rank: int | None = None,
    replace: bool = False,
    documents: Any = None,
) -> Export:
    """Write a revision to ``target``.

    ``documents`` may be called with the base's and the result's digests and the touched tensors,
    and returns further files for the folder (card, ledger, lock). Raises :class:`NotInWeights`.
    """
    tree = tree_at(session, revision)
    require_in_weights(session, revision)
    if format == "delta":
        return _export_delta(session, target, tree, replace, documents)
    from editvc.porcelain import export_models as models

    if format == "lora":
        return models.export_adapter(session, target, tree, revision, rank, replace, documents)
    if format == "hf":
        return models.export_model(session, target, tree, revision, replace, documents)
    raise EditvcError(f"unknown export format {format!r}", hint="Formats: " + ", ".join(FORMATS))


def require_in_weights(session: Session, revision: str) -> None:
    """Raise :class:`NotInWeights` where facts of a revision are in codebooks; reads no tensor."""
    plumbing = session.repository
    unborn = revision == "HEAD" and plumbing.refs.head().commit is None
    commit = None if unborn else plumbing.revisions.resolve(revision)
    if commit is None:
        return
    if facts := int(dict(plumbing.graph.row(commit).health).get("codebook", 0)):
        raise NotInWeights(revision, facts)


def _export_delta(
    session: Session, target: Path, tree: Tree, replace: bool, documents: Any
) -> Export:
    """Without torch where a commit left the file of this tree in the cache."""
    data = delta_file(session, tree)
    digest = object_id(data)
    base_model = session.repository.read_base()
    architecture = architecture_of(base_model.model_type, base_model.architecture)

    def touched(ranks: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            architecture.weight_name(int(one)) if one.isdecimal() else one for one in ranks
        )

    def with_documents(ranks: dict[str, int]) -> Mapping[str, str | bytes]:
        from editvc.models.checkpoint import Checkpoint, weights_digest

        base = weights_digest(Checkpoint(session.materialiser.folder).digests())
        return dict(documents(base, digest, touched(ranks)))

    ranks = export_delta(
        target, data, replace=replace, documents=with_documents if documents else None
    )
    note = "the factors of each layer: W' = W + left @ right, W as hidden x inner"
    return Export("delta", target, None, digest, touched(ranks), (), (note, *rank_notes(tree)))


def rank_notes(tree: Tree) -> tuple[str, ...]:
    """What a user of the factors should know of their rank."""
    if tree.restraint is None or not tree.restraint.chooses_entries:
        return ()
    return (
        "the restraint keeps single entries, so the factors have full rank "
        "and are larger than the weights themselves",
    )
