"""Is the model in a folder the base of a repository? Asked before any of its weights is used."""

from __future__ import annotations

from collections.abc import Callable

from editvc.core.base import BaseModel, Identity
from editvc.core.progress import Progress
from editvc.models.fingerprint import (
    BaseMismatchError,
    describe,
    identify,
    require_identical,
    require_same,
)
from editvc.models.source import ModelFiles, ModelNotFoundError, open_model
from editvc.vcs.draft_config import DraftConfig
from editvc.vcs.files import WriteError
from editvc.vcs.index_file import IndexRefused
from editvc.vcs.repository import Repository

MOVED = (
    "If the base was moved, `editvc base DIR` names its new folder, or a Hub id of the same model."
)
UPGRADED = (
    "this repository knew its base by the weights that are edited; from now on by every tensor, "
    "the settings of its config and its tokenizer (base.identity in config.toml)"
)


def check_base(
    repository: Repository,
    base: BaseModel,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> ModelFiles:
    """The files of ``base``, if they are what the repository was made with.

    A repository that records the base of an earlier version has its identity added, and ``remark``
    hears of it. Raises ``BaseMismatchError``, naming what differs, ``NotFiniteError``, and the
    errors of :func:`editvc.models.source.open_model`.
    """
    try:
        files = open_model(base.source, base.revision, block=base.architecture)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(base.source, error.problem, hint=MOVED) from error
    identity = identify(files, repository.cache, progress)
    expected = repository.read_identity()
    if expected is not None:
        _require_of(base, expected)
        require_identical(expected, identity, base.source)
        return files
    require_same(base, describe(files, repository.cache), files.folder)
    if _keep(repository, identity):
        remark(UPGRADED)
    return files


def _require_of(base: BaseModel, identity: Identity) -> None:
    """The identity is of this base: the two records have the weights that are edited in common."""
    tensors = dict(identity.tensors)
    for name, digest in base.weights:
        if tensors.get(name) != digest:
            raise BaseMismatchError("base.identity", f"tensor {name}")


def _keep(repository: Repository, identity: Identity) -> bool:
    """Record the identity beside the base; on a medium that cannot be written, and where settings
    are a draft's, the next time.
    """
    if isinstance(repository.config_file, DraftConfig):
        return False
    try:
        repository.set_configs({"base.identity": repository.write(identity)})
    except (WriteError, IndexRefused):
        return False
    return True
