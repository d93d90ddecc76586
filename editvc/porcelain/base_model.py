"""``base``: which model a repository edits, whether it still is that, and where it has gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from editvc.core.ids import ObjectId
from editvc.materialise.base_check import check_base
from editvc.models.fingerprint import describe
from editvc.models.source import open_model
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class BaseReport:
    """A base that is what the repository was made with.

    ``id`` is what commits call it, ``identity`` all that it must be, of ``tensors`` tensors; none
    where the medium takes no record of it.
    """

    source: str
    revision: str | None
    id: ObjectId
    identity: ObjectId | None
    tensors: int

    def to_json(self) -> dict[str, Any]:
        """The contract of ``base --json``."""
        return {
            "source": self.source,
            "revision": self.revision,
            "base": self.id,
            "identity": self.identity,
            "tensors": self.tensors,
        }


def base_report(session: Session) -> BaseReport:
    """The base in force, its files checked. Raises what ``check_base`` raises."""
    files, base = session.files, session.repository.read_base()
    identity = session.repository.read_identity()
    return BaseReport(
        files.source,
        base.revision,
        base.id,
        identity.id if identity is not None else None,
        len(identity.tensors) if identity is not None else len(base.weights),
    )


def move_base(session: Session, model: str, revision: str | None = None) -> BaseReport:
    """Load the base from ``model`` from now on: another folder, or a Hub id, of the same model.

    One that was in force before (``rebase --onto-base``) is again, with the settings of then.
    Raises what ``check_base`` raises: ``BaseMismatchError`` for another model.
    """
    plumbing = session.repository
    former = _former(session, model, revision)
    if former is not None:
        plumbing.replace_base(former | {"base.model": model, "base.revision": revision or ""})
        session.forget_base()
        return base_report(session)
    moved = replace(plumbing.read_base(), source=model, revision=revision)
    files = check_base(plumbing, moved, session.progress, session.remark)
    plumbing.set_configs({"base.model": files.source, "base.revision": revision or ""})
    session.forget_base()
    return base_report(session)


def _former(session: Session, model: str, revision: str | None) -> dict[str, Any] | None:
    """The settings of the base that a model is, where it is not in force and was before."""
    plumbing = session.repository
    known = {base for base, _ in plumbing.bases.all()} - {plumbing.config_file.base().id}
    if not known:
        return None
    base = describe(open_model(model, revision), plumbing.cache)
    return plumbing.bases.settings_of(base.id) if base.id in known else None
