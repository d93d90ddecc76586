"""``export --format delta``: the factors alone; without torch where a commit left them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from editvc.core.history import Tree
from editvc.core.ids import object_id
from editvc.interchange.delta_file import export_delta as write_delta
from editvc.interchange.staging import Content
from editvc.models.architectures import architecture_of
from editvc.porcelain.export_result import Documents, Export, rank_notes
from editvc.session.delta_cache import delta_file
from editvc.session.session import Session


def export_delta(
    session: Session, target: Path, tree: Tree, replace: bool, documents: Documents | None
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

    def with_documents(ranks: dict[str, int]) -> Mapping[str, Content]:
        assert documents is not None, "it is passed on only where there are some"
        return dict(documents(session.materialiser.weights_digest, digest, touched(ranks)))

    ranks = write_delta(
        target, data, replace=replace, documents=with_documents if documents else None
    )
    note = "the factors of each layer: W' = W + left @ right, W as hidden x inner"
    return Export("delta", target, None, digest, touched(ranks), (), (note, *rank_notes(tree)))
